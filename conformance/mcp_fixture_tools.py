"""What the official MCP suite expects a server under test to have, by fixed names: tools, resources and prompts that
nobody needs. They are served beside hocket's own by `mcp_fixture_server.py`, and never by a gateway."""

import asyncio
from typing import Any

import mcp_types as types
from mcp import MCPError
from pydantic import RootModel

from gateway.mcp.tool import READS, Call, Tool, misread, problem

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
ANY = {"type": "object"}


class Anything(RootModel[dict[str, Any]]):
    """Arguments that nobody looks at."""


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def said(*content: Any, **more: Any) -> types.CallToolResult:
    return types.CallToolResult(content=list(content), **more)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PIXEL, mime_type="image/png")


def resource(uri: str, words: str, kind: str = "text/plain") -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=kind, text=words)
    return types.EmbeddedResource(type="resource", resource=contents)


def form(message: str, **fields: str) -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in fields.items()},
              "required": list(fields)}  # fmt: skip
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(words: str, tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(words))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=tokens))


def roots() -> types.ListRootsRequest:
    return types.ListRootsRequest(params=types.RequestParams())


def required(state: str | None = None, **asked: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=asked or None, request_state=state)


def content_of(given: Any, name: str) -> dict[str, Any] | None:
    found = (given or {}).get(name)
    return dict(found.content or {}) if isinstance(found, types.ElicitResult) else None


async def simple_text(_: Call, __: Any) -> Any:
    return said(text("This is a simple text response for testing."))


async def image_content(_: Call, __: Any) -> Any:
    return said(image())


async def audio_content(_: Call, __: Any) -> Any:
    return said(types.AudioContent(type="audio", data=SOUND, mime_type="audio/wav"))


async def embedded_resource(_: Call, __: Any) -> Any:
    return said(resource("test://embedded-resource", "This is an embedded resource content."))


async def multiple_content_types(_: Call, __: Any) -> Any:
    mixed = resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return said(text("Multiple content types test:"), image(), mixed)


async def error_handling(_: Call, __: Any) -> Any:
    return said(text("This tool intentionally returns an error for testing"), is_error=True)


async def with_progress(call: Call, _: Any) -> Any:
    for done in (0, 50, 100):
        await call.context.session.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return said(text("Done."))


async def with_logging(call: Call, _: Any) -> Any:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.context.session.send_log_message("info", words)
        await asyncio.sleep(0.05)
    return said(text("Done."))


async def missing_capability(call: Call, _: Any) -> Any:
    declared = call.context.session.client_capabilities
    if declared is None or declared.sampling is None:
        lacking = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "Sampling is needed.", lacking)
    return said(text("Sampling is declared."))


async def elicitation(call: Call, _: Any) -> Any:
    given = content_of(call.params.input_responses, "user_name")
    if given is None:
        return required(user_name=form("What is your name?", name="string"))
    return said(text(f"Hello, {given.get('name')}!"))


async def sampling(call: Call, _: Any) -> Any:
    given = (call.params.input_responses or {}).get("capital_question")
    if given is None:
        return required(capital_question=sample("What is the capital of France?", 100))
    return said(text(str(getattr(given, "content", given))))


async def list_roots(call: Call, _: Any) -> Any:
    given = (call.params.input_responses or {}).get("client_roots")
    if not isinstance(given, types.ListRootsResult):
        return required(client_roots=roots())
    return said(text(", ".join(str(root.uri) for root in given.roots)))


async def request_state(call: Call, _: Any) -> Any:
    if content_of(call.params.input_responses, "confirm") is None:
        return required("confirming", confirm=form("Please confirm", ok="boolean"))
    return said(text("state-ok" if call.params.request_state == "confirming" else "state-lost"))


async def multiple_inputs(call: Call, _: Any) -> Any:
    if set(call.params.input_responses or {}) != {"user_name", "greeting", "client_roots"}:
        return required("many", user_name=form("What is your name?", name="string"),
                        greeting=sample("Generate a greeting", 50), client_roots=roots())  # fmt: skip
    return said(text("All three came."))


async def multi_round(call: Call, _: Any) -> Any:
    given = call.params.input_responses
    if content_of(given, "step2") is not None:
        return said(text("Both steps came."))
    if content_of(given, "step1") is not None:
        return required("round-2", step2=form("Step 2: What is your favorite color?", color="string"))
    return required("round-1", step1=form("Step 1: What is your name?", name="string"))


async def capabilities(call: Call, _: Any) -> Any:
    declared = call.context.session.client_capabilities
    asked: dict[str, Any] = {}
    if declared is not None and declared.sampling is not None:
        asked["sample"] = sample("Say something", 50)
    if declared is not None and declared.elicitation is not None:
        asked["form"] = form("What is your name?", name="string")
    if call.params.input_responses or not asked:
        return said(text("Done."))
    return required(None, **asked)


def tool(name: str, call: Any, takes: dict[str, Any] = ANY, quick: bool = True, about: str = "") -> Tool:
    return Tool(name, name, about or f"Fixture {name}.", Anything, {}, call, READS, problem, misread, takes, quick)


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object",
                          "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
                   "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                   "phone": {"type": "string"}, "email": {"type": "string"}},
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}  # fmt: skip
HEADERS = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"},
                                            "query": {"type": "string"}}}  # fmt: skip

TOOLS = (
    tool("test_simple_text", simple_text, EMPTY),
    tool("test_image_content", image_content, EMPTY),
    tool("test_audio_content", audio_content, EMPTY),
    tool("test_embedded_resource", embedded_resource, EMPTY),
    tool("test_multiple_content_types", multiple_content_types, EMPTY),
    tool("test_error_handling", error_handling, EMPTY),
    tool("test_tool_with_progress", with_progress, EMPTY, quick=False),
    tool("test_tool_with_logging", with_logging, EMPTY, quick=False),
    tool("test_logging_tool", with_logging, quick=False),
    tool("test_missing_capability", missing_capability),
    tool("test_streaming_elicitation", elicitation, quick=False),
    tool("test_input_required_result_elicitation", elicitation),
    tool("test_input_required_result_sampling", sampling),
    tool("test_input_required_result_list_roots", list_roots),
    tool("test_input_required_result_request_state", request_state),
    tool("test_input_required_result_tampered_state", request_state),
    tool("test_input_required_result_multiple_inputs", multiple_inputs),
    tool("test_input_required_result_multi_round", multi_round),
    tool("test_input_required_result_capabilities", capabilities),
    tool("json_schema_2020_12_tool", simple_text, SCHEMA),
    tool("test_custom_headers", simple_text, HEADERS),
)
