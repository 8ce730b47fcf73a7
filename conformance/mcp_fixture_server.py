"""A gateway whose `/mcp` also serves the fixtures of the official MCP suite: the same endpoint, dispatch and rules as
any gateway's, with more in its table. `python conformance/mcp_fixture_server.py FOLDER` prints its URL.

Alone in this folder it imports hocket's own packages: it is under test, not testing.
"""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from starlette.applications import Starlette

from conformance.mcp_fixture_tools import PIXEL, TOOLS, content_of, form, image, required, resource, text
from gateway.app import open_gateway
from gateway.errors import HANDLERS
from gateway.mcp.calls import Calls, Context
from gateway.mcp.face import Endpoint, server_of
from gateway.mcp.resources import TEMPLATES, Library, list_prompts
from gateway.mcp.table import ALL
from gateway.mcp.tasks import Tasks
from gateway.resource import Resource
from gateway.server import bind
from runtime.nats_server import EmbeddedServer
from runtime.settings import load

_TEMPLATE = re.compile(r"test://template/(\w+)/data")
NAMES = ("test_simple_prompt", "test_prompt_with_arguments", "test_prompt_with_embedded_resource",
         "test_prompt_with_image", "test_input_required_result_prompt")  # fmt: skip


class Fixtures(Library):
    """hocket's own resources, and those that the suite reads."""

    async def list_resources(self, context: Context, params: Any) -> types.ListResourcesResult:
        told = await super().list_resources(context, params)
        own = [types.Resource(name=uri, uri=uri) for uri in ("test://static-text", "test://static-binary")]
        return told.model_copy(update={"resources": [*told.resources, *own]})

    async def list_templates(self, context: Context, params: Any) -> types.ListResourceTemplatesResult:
        more = types.ResourceTemplate(name="test", uri_template="test://template/{id}/data")
        return types.ListResourceTemplatesResult(resource_templates=[*TEMPLATES, more], ttl_ms=1, cache_scope="private")

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = params.uri
        found = _TEMPLATE.fullmatch(uri)
        contents: Any = None
        if uri == "test://static-text":
            words = "This is the content of the static text resource."
            contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text=words)
        elif uri == "test://static-binary":
            contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PIXEL)
        elif found is not None:
            told = f'{{"id":"{found[1]}","templateTest":true,"data":"Data for ID: {found[1]}"}}'
            contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=told)
        if contents is None:
            return await super().read(context, params)
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")


async def prompts(context: Context, params: Any) -> types.ListPromptsResult:
    told = await list_prompts(context, params)
    given = {
        "test_prompt_with_arguments": [types.PromptArgument(name=name, required=True) for name in ("arg1", "arg2")],
        "test_prompt_with_embedded_resource": [types.PromptArgument(name="resourceUri", required=True)],
    }
    more = [types.Prompt(name=name, description=f"Fixture {name}.", arguments=given.get(name)) for name in NAMES]
    return told.model_copy(update={"prompts": [*told.prompts, *more]})


async def prompt(_: Context, params: types.GetPromptRequestParams) -> Any:
    given = params.arguments or {}
    if params.name == "test_simple_prompt":
        return _prompt(text("This is a simple prompt for testing."))
    if params.name == "test_prompt_with_arguments":
        return _prompt(text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"))
    if params.name == "test_prompt_with_embedded_resource":
        embedded = resource(str(given.get("resourceUri")), "Embedded resource content for testing.")
        return _prompt(embedded, text("Please process the embedded resource above."))
    if params.name == "test_prompt_with_image":
        return _prompt(image(), text("Please analyze the image above."))
    if params.name == "test_input_required_result_prompt":
        told = content_of(params.input_responses, "user_context")
        if told is None:
            return required(user_context=form("What context should the prompt use?", context="string"))
        return _prompt(text(f"Context: {told.get('context')}"))
    raise MCPError(types.INVALID_PARAMS, "No such prompt.")


def _prompt(*content: Any) -> types.GetPromptResult:
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=one) for one in content])


async def complete(_: Context, __: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=["paris", "park"], total=2, has_more=False))


async def serve(folder: Path) -> None:
    nats = EmbeddedServer(folder / "nats")
    await nats.start()
    settings = load({}, data=folder / "data")
    try:
        async with open_gateway(settings, nats.url) as gateway:
            calls = Calls(gateway.engine, gateway.streams, (*ALL, *TOOLS))
            server = server_of(calls, Fixtures(gateway.engine))
            server.add_request_handler("prompts/list", types.PaginatedRequestParams, prompts)
            server.add_request_handler("prompts/get", types.GetPromptRequestParams, prompt)
            server.add_request_handler("completion/complete", types.CompleteRequestParams, complete)
            Tasks(gateway.engine, gateway.streams).serve(server)
            sealed = RequestStateSecurity(keys=[b"k" * 32])
            server.middleware.append(RequestStateBoundary(sealed, default_audience="hocket"))
            endpoint = Endpoint(calls, server, settings, streams=True)
            app = Starlette(routes=[Resource("/mcp", {"POST": endpoint.post})], exception_handlers=HANDLERS)
            app.state.auth = gateway.auth
            listening = bind("127.0.0.1", 0)
            sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
            sys.stdout.flush()
            async with endpoint.run():
                config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False)
                await uvicorn.Server(config).serve([listening])
    finally:
        await nats.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
