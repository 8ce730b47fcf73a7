"""Pages of other origins: those that are named may speak to the gateway from a browser."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp


class Cors(CORSMiddleware):
    """Starlette's middleware, with a preflight that is answered as any OPTIONS is: 204, and CORS headers only for an
    origin that is allowed. Without them the browser refuses by itself."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(app, origins, allow_methods=["*"], allow_headers=["*"], expose_headers=["*"])

    def preflight_response(self, request_headers: Headers) -> Response:
        told = super().preflight_response(request_headers)
        if told.status_code != 200:
            return Response(status_code=204, headers={"vary": "Origin"})
        kept = {name: value for name, value in told.headers.items() if not name.startswith("content-")}
        return Response(status_code=204, headers=kept)
