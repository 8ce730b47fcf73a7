"""An answer in JSON, written by the fast encoder."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response


def json_answer(
    told: Any, status: int = 200, headers: Mapping[str, str] | None = None, media: str = "application/json"
) -> Response:
    return Response(orjson.dumps(told), status, headers, media)
