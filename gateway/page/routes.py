"""`/agents/status/{run_id}` and the files of the run page, from a fixed list.

The page itself holds nothing of any run: it is the same bytes for everyone, so it needs no credentials. What it
shows, it asks of `/v1` with the credentials of the person who opened it. The policy lets it speak to its own origin
alone, run no code but its own files, and stand in no frame.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from protocol.errors import Invalid, Unavailable

from ..prefer import prefers
from ..resource import Handler, Resource

_HERE = Path(__file__).parent
_MODULES = (
    "answer.js",
    "connection.js",
    "element.js",
    "fold.js",
    "form.js",
    "frames.js",
    "gate.js",
    "page.js",
    "past.js",
    "patch.js",
    "plain.js",
    "question.js",
    "renderers.js",
    "replay.js",
    "schema.js",
    "session.js",
    "signin.js",
    "theme.js",
    "timeline.js",
    "transcript.js",
    "words.js",
)
_SHEETS = ("page.css", "transcript.css", "gate.css")
_LIBRARY = "jsoneditor.js"
_SCRIPT, _STYLE = "text/javascript", "text/css"
_SOON = "max-age=60"
"""The modules belong together: after an upgrade no browser may hold on to some of them for long."""
_DAY = "max-age=86400"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_NO_SNIFFING = {"x-content-type-options": "nosniff"}
_SHELL = {
    **_NO_SNIFFING,
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def page_routes(prefixes: Sequence[str], renderers: Path | None, snapshot: Handler, answer: Handler) -> list[Resource]:
    """The page under each of `prefixes`, and its files; `renderers` is a JavaScript module with renderers of one's own.
    Who prefers JSON gets what `snapshot` says, and `answer` takes what is posted to the page.

    Raises Invalid if `renderers` is no file.
    """
    if renderers is not None and not renderers.is_file():
        raise Invalid(f"The module of renderers {str(renderers)!r} is not a file.")
    shell = (_HERE / "page.html").read_bytes()

    async def page(request: Request) -> ASGIApp:
        if prefers(request, "application/json", over="text/html"):
            return await snapshot(request)
        return Response(shell, media_type="text/html", headers=_SHELL)

    async def own_renderers(request: Request) -> Response:
        # read at every request, so that whoever writes a renderer reloads the page and no more
        try:
            content = await anyio.Path(renderers).read_bytes() if renderers is not None else b""
        except OSError as fault:
            raise Unavailable("The module of renderers cannot be read.") from fault
        return _answer(request, content, _SCRIPT, "no-cache")

    return [
        *(Resource(f"{prefix}/agents/status/{{run_id}}", {"GET": page, "POST": answer}) for prefix in prefixes),
        *(_asset(name, _HERE / name, _SCRIPT, _SOON) for name in _MODULES),
        *(_asset(name, _HERE / name, _STYLE, _SOON) for name in _SHEETS),
        _asset(_LIBRARY, _HERE / "vendor" / _LIBRARY, _SCRIPT, _DAY),
        Resource("/agents/page/renderers.user.js", {"GET": own_renderers}),
    ]


def _asset(name: str, path: Path, media_type: str, cached: str) -> Resource:
    """A file, read once. A library that was never fetched is a 404, of which the page makes a plain form."""
    content = path.read_bytes() if path.is_file() else None

    async def send(request: Request) -> Response:
        if content is None:
            return Response(f"{name} was not installed.\n", 404, media_type="text/plain", headers=_NO_SNIFFING)
        return _answer(request, content, media_type, cached)

    return Resource(f"/agents/page/{name}", {"GET": send})


def _answer(request: Request, content: bytes, media_type: str, cached: str) -> Response:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_NO_SNIFFING, "etag": etag, "cache-control": cached}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
