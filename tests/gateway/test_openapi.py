"""The OpenAPI document is true: what it promises holds against a running house, whatever it is asked."""

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.openapi import document
from gateway.rest_push import PUSH_OPERATIONS
from gateway.rest_table import OPERATIONS, PROBES
from gateway.trigger_table import TRIGGER_OPERATIONS
from gateway.webhook_table import WEBHOOK_OPERATIONS
from runtime import webhook
from runtime.dead_letters import DeadLetter, bury
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.house import House, bearer, give_key, open_house

pytestmark = pytest.mark.anyio

TABLE = [*OPERATIONS, *TRIGGER_OPERATIONS, *PUSH_OPERATIONS, *WEBHOOK_OPERATIONS, *PROBES]
EXAMPLES = 30
SECONDS_MAX = 5.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KNOWN = {
    "run_id": "known/run", "thread_id": "known thread", "trigger_id": "known/trigger", "subject": "a.b",
    "dead_letter_id": "1", "webhook_id": "known/webhook",
}  # fmt: skip


async def echo(run: Any) -> Any:
    yield {"type": "STEP_STARTED", "stepName": "thinking"}
    yield run.tool_call("look", {"at": "it"}, "seen")
    yield {"type": "STEP_FINISHED", "stepName": "thinking"}
    yield "Yes."


def ask_at_random(url: str, operation: schemathesis.APIOperation, key: str) -> None:
    """Many generated requests for one operation, most of them for things that exist."""
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode])

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases, st.integers(0, 3), st.integers(0, 9).map(lambda one: one == 9))
    def ask(case: schemathesis.Case, known: int, refused: bool) -> None:
        if known:
            case.path_parameters.update({name: quote(KNOWN[name], safe="") for name in case.path_parameters})
            if isinstance(case.body, dict) and "agent" in case.body:
                case.body = {**case.body, "agent": "echo"}
        headers = {} if refused else bearer(key)
        case.call_and_validate(base_url=url, checks=CHECKS, timeout=SECONDS_MAX, headers=headers)

    ask()


async def known_things(house: House) -> None:
    want = {"agent": "echo", "input": "hi", "run_id": KNOWN["run_id"], "thread_id": KNOWN["thread_id"]}
    assert (await house.client.post("/v1/runs", json=want, headers={"Prefer": "wait=5"})).status_code == 201
    trigger = {"agent": "echo", "input": "hi", "kind": "cron", "cron": "0 0 1 1 *"}
    path = f"/v1/triggers/{quote(KNOWN['trigger_id'], safe='')}"
    assert (await house.client.put(path, json=trigger)).status_code == 201
    log = await Log.open(house.nats.url, "test-dead-letters", house.settings.append_timeout_s)
    letter = DeadLetter("", KNOWN["run_id"], "c1", "https://example.com/", 2, 2, "500", 12, 1, 2)
    await bury(log, "default", letter)
    shut = webhook.Webhook(KNOWN["webhook_id"], "https://127.0.0.1/").rotated(1)  # nothing is sent there
    await webhook.change(log, "default", lambda _: {shut.id: shut})
    await log.close()


@pytest.mark.parametrize("at", range(len(TABLE)), ids=[operation.name for operation in TABLE])
async def test_no_request_gets_an_answer_that_the_document_does_not_have(
    at: int, nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        await known_things(house)
        key = await give_key(house, scopes=["admin"])
        schema = schemathesis.openapi.from_dict((await house.client.get("/openapi.json")).json())
        operations = {found.definition.raw["operationId"]: found for found in map(Ok.ok, schema.get_all_operations())}
        assert len(operations) == len(TABLE)
        await asyncio.to_thread(ask_at_random, house.url, operations[TABLE[at].name], key)


async def test_every_reference_of_the_document_leads_somewhere() -> None:
    told = document("hocket", "1", "", TABLE)
    schemas = told["components"]["schemas"]
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told)))
    assert {"RunForm", "RunObject", "Problem", "UserMessage"} <= wanted <= set(schemas)


async def test_the_page_needs_no_other_host(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings) as house:
        page = await house.client.get("/docs")
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(parts) == 4 and all(part.startswith("/docs/") for part in parts)
        for part in parts:
            answer = await house.client.get(part)
            assert answer.status_code == 200 and answer.content
        start = await house.client.get("/docs/start.js")
        refused = await house.client.post("/docs")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert '"/openapi.json"' in start.text and "http" not in start.text
    assert refused.status_code == 405
