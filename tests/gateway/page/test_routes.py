"""The shell is the same for every run and tells nothing; the files of the page are a fixed list."""

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from gateway.page.routes import page_routes
from protocol.errors import Invalid

pytestmark = pytest.mark.anyio


async def elsewhere(_: Request) -> Response:
    """What is not the page's own to say; test_form_post.py asks for it."""
    return Response(status_code=418)


def client(renderers: Path | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=page_routes(["", "/cinatra"], renderers, elsewhere, elsewhere)))
    return httpx.AsyncClient(transport=transport, base_url="http://hocket.test")


async def test_every_run_has_the_same_page() -> None:
    async with client() as http:
        one, other = await http.get("/agents/status/r1"), await http.get("/agents/status/a%2Fb%20%3Cscript%3E")
    assert one.status_code == other.status_code == 200
    assert one.content == other.content
    assert one.headers["content-type"] == "text/html; charset=utf-8"


async def test_the_page_runs_its_own_files_alone_speaks_to_its_own_origin_and_stands_in_no_frame() -> None:
    async with client() as http:
        page = await http.get("/agents/status/r1")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert "<script>" not in page.text and "style=" not in page.text and "onclick" not in page.text


async def test_a_file_of_the_page_is_cached_and_asked_for_again_by_its_etag() -> None:
    async with client() as http:
        first = await http.get("/agents/page/fold.js")
        again = await http.get("/agents/page/fold.js", headers={"if-none-match": first.headers["etag"]})
    assert first.status_code == 200 and first.headers["content-type"].startswith("text/javascript")
    assert first.headers["cache-control"].startswith("max-age=")
    assert again.status_code == 304 and again.content == b""


async def test_the_form_library_is_served_from_here() -> None:
    async with client() as http:
        library = await http.get("/agents/page/jsoneditor.js")
    assert library.status_code == 200 and len(library.content) > 100_000


@pytest.mark.parametrize("name", ["routes.py", "__init__.py", "page.html", "vendor", "..%2Fapp.py", "fold.js%00"])
async def test_nothing_but_the_files_of_the_page_is_served(name: str) -> None:
    async with client() as http:
        assert (await http.get(f"/agents/page/{name}")).status_code == 404


async def test_renderers_of_ones_own_are_served_as_they_are_now(tmp_path: Path) -> None:
    module = tmp_path / "own.js"
    module.write_text("export const one = 1;")
    async with client(module) as http:
        assert (await http.get("/agents/page/renderers.user.js")).text == "export const one = 1;"
        module.write_text("export const two = 2;")
        assert (await http.get("/agents/page/renderers.user.js")).text == "export const two = 2;"


async def test_without_renderers_of_ones_own_the_module_is_empty() -> None:
    async with client() as http:
        empty = await http.get("/agents/page/renderers.user.js")
    assert empty.status_code == 200 and empty.content == b""


def test_a_module_of_renderers_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not a file"):
        page_routes([""], tmp_path / "missing.js", elsewhere, elsewhere)
