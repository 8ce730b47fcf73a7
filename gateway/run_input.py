"""What a run begins with, from the forms of `/v1` into AG-UI's wire form."""

from typing import Any

import orjson

from protocol.errors import Invalid

from .rest_forms import WorkForm

_METADATA_BYTES_MAX = 16 << 10


def wire_input(form: WorkForm, text_id: str) -> dict[str, Any]:
    """AG-UI's input. A text becomes a user's message with that id."""
    if isinstance(form.input, str):
        messages = [{"id": text_id, "role": "user", "content": form.input}]
    else:
        messages = [message.model_dump(mode="json", by_alias=True, exclude_none=True) for message in form.input]
    return {
        "messages": messages,
        "state": form.state,
        "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in form.tools],
        "context": [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in form.context],
        "forwardedProps": {},
    }


def check_metadata(form: WorkForm) -> None:
    """Raises Invalid where it is too large."""
    if len(orjson.dumps(form.metadata)) > _METADATA_BYTES_MAX:
        raise Invalid(f"metadata: at most {_METADATA_BYTES_MAX} bytes of JSON.")
