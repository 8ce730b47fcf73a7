"""`/openapi.json` and its browsable page `/docs`, made of an installed package: no other host is asked."""

from collections.abc import Iterable

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute
from swagger_ui_bundle import swagger_ui_path

from .openapi import Operation, document
from .resource import Resource

_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_DAY = {"cache-control": "max-age=86400"}
_POLICY = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>hocket API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# The packaged Swagger UI draws 3.1 well enough but refuses its version number, so the page tells it another one.
_START = """fetch("/openapi.json").then((answer) => answer.json()).then((spec) => {
  SwaggerUIBundle({spec: {...spec, openapi: "3.0.3"}, dom_id: "#page", deepLinking: true, validatorUrl: null});
});
"""


def document_routes(version: str, operations: Iterable[Operation]) -> list[BaseRoute]:
    """The document and the page."""
    told = orjson.dumps(document("hocket", version, "Runs of agents: start, poll, stream, cancel.", operations))

    async def openapi(_: Request) -> Response:
        return Response(told, media_type="application/json")

    async def page(_: Request) -> Response:
        return HTMLResponse(_PAGE, headers=_POLICY)

    async def start(_: Request) -> Response:
        return Response(_START, media_type="text/javascript")

    def asset(name: str) -> Resource:
        async def send(_: Request) -> Response:
            return FileResponse(swagger_ui_path / name, headers=_DAY)

        return Resource(f"/docs/{name}", {"GET": send})

    return [
        Resource("/openapi.json", {"GET": openapi}),
        Resource("/docs", {"GET": page}),
        Resource("/docs/start.js", {"GET": start}),
        *(asset(name) for name in _ASSETS),
    ]
