"""The AG-UI face: `POST /agui/{agent}` takes a RunAgentInput and streams the run (reference: docs.ag-ui.com, 1.0).

The client's runId is the run's id: posted again it attaches. A client that joins late gets a prelude; one that
comes back with a cursor gets what comes after it.
"""

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from .agui_stream import AgUiStreams
from .auth import principal
from .body import read_json

FACE = "agui"


class AgUi:
    """The face over what all faces of AG-UI share."""

    def __init__(self, runs: AgUiStreams, body_bytes_max: int) -> None:
        self._runs, self._body_bytes_max = runs, body_bytes_max

    def routes(self) -> list[BaseRoute]:
        return [Route("/agui/{agent:path}", self._post, methods=["POST"], name="agui")]

    async def _post(self, request: Request) -> ASGIApp:
        principal(request)  # nothing is read from whoever may not ask
        given = await read_json(request, self._body_bytes_max)
        return await self._runs.run(request, request.path_params["agent"], given, FACE)
