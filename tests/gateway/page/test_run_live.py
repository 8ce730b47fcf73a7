"""A person opens a run's page and sees it live, again after a reload or a break, and back through its sequence."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.gateway.page.stage import OpenStage

pytestmark = pytest.mark.anyio

WORDS = [f"word-{number}" for number in range(40)]


class Paced:
    """An agent that goes on when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, run: Any) -> AsyncIterator[Any]:
        yield run.state({"checked": False})
        for word in WORDS[:20]:
            yield f"{word} "
        await self.go.wait()
        for word in WORDS[20:]:
            yield f"{word} "
        yield run.tool_call("find_order", {"invoice": "A-17"}, {"order": "O-99"})
        yield run.state_delta({"op": "replace", "path": "/checked", "value": True})


async def said(page: Page) -> str:
    return (await page.locator("#transcript .said .body").all_inner_texts())[0].strip()


async def test_text_tool_calls_and_state_are_shown_as_they_come(open_stage: OpenStage) -> None:
    agent = Paced()
    async with open_stage(paced=agent) as stage:
        await stage.start("paced", text="Check invoice A-17")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.locator("#status")).to_have_text("Running")
        await expect(page.locator("#transcript")).to_contain_text("word-19")
        await expect(page.locator("#state pre")).to_contain_text('"checked": false')
        await expect(page.locator("#asked")).to_contain_text("Check invoice A-17")
        assert await page.get_by_text("find_order").count() == 0
        agent.go.set()
        await expect(page.locator("#status")).to_have_text("Completed")
        await expect(page.get_by_text("find_order")).to_be_visible()
        await expect(page.locator("#state pre")).to_contain_text('"checked": true')
        await expect(page.locator("#connection")).to_have_text("The run has ended")
        assert await said(page) == " ".join(WORDS)


async def test_a_reload_in_mid_stream_shows_nothing_twice_and_misses_nothing(open_stage: OpenStage) -> None:
    agent = Paced()
    async with open_stage(paced=agent) as stage:
        await stage.start("paced")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#transcript")).to_contain_text("word-19")
        await page.reload()
        await expect(page.locator("#transcript")).to_contain_text("word-19")
        agent.go.set()
        await expect(page.locator("#status")).to_have_text("Completed")
        assert await said(page) == " ".join(WORDS)


async def test_a_stream_that_breaks_is_taken_up_after_the_last_event(open_stage: OpenStage) -> None:
    agent = Paced()
    async with open_stage(paced=agent) as stage:
        await stage.start("paced")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await expect(page.locator("#transcript")).to_contain_text("word-19")
        await stage.cut_streams()
        await expect(page.locator("#connection")).to_contain_text("Connection lost")
        await expect(page.locator("#connection")).to_have_text("Live")
        agent.go.set()
        await expect(page.locator("#status")).to_have_text("Completed")
        assert await said(page) == " ".join(WORDS)
        streams = [request for request in visitor.requests if request.url.endswith("/events")]
        assert "last-event-id" not in streams[0].headers and int(streams[1].headers["last-event-id"]) > 20


async def test_the_slider_shows_the_run_as_it_was_and_leads_back_to_live(open_stage: OpenStage) -> None:
    agent = Paced()
    agent.go.set()
    async with open_stage(paced=agent) as stage:
        await stage.start("paced")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#status")).to_have_text("Completed")
        slider = page.get_by_role("slider", name="Replay")
        head = int(await slider.get_attribute("max") or 0)
        await slider.fill("10")
        await expect(page.locator("#status")).to_have_text("Running")
        await expect(page.locator("#transcript")).to_contain_text("word-3")
        await expect(page.locator("#transcript")).not_to_contain_text("word-19")
        await expect(page.locator("#state pre")).to_contain_text('"checked": false')
        await expect(page.locator("#timeline li")).to_have_count(2)
        await slider.press("Home")
        await expect(page.locator("#status")).to_have_text("Queued")
        await expect(slider).to_have_attribute("aria-valuetext", f"entry 1 of {head}")
        await page.get_by_role("button", name="Back to live").click()
        await expect(page.locator("#status")).to_have_text("Completed")
        await expect(page.get_by_role("button", name="Back to live")).to_be_hidden()
        assert await said(page) == " ".join(WORDS)


async def test_a_moment_of_the_timeline_leads_to_the_run_as_it_was_then(open_stage: OpenStage) -> None:
    agent = Paced()
    agent.go.set()
    async with open_stage(paced=agent) as stage:
        await stage.start("paced")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#status")).to_have_text("Completed")
        await page.get_by_role("button", name="Show the run as it was").first.click()
        await expect(page.locator("#status")).to_have_text("Queued")


async def test_a_state_that_the_run_was_started_with_is_shown_too(open_stage: OpenStage) -> None:
    go = asyncio.Event()

    async def count(run: Any) -> AsyncIterator[Any]:
        yield run.state_delta({"op": "add", "path": "/order/lines", "value": 2})
        yield "counted "
        await go.wait()
        yield run.state_delta({"op": "add", "path": "/order/paid", "value": True})

    async with open_stage(count=count) as stage:
        given = {"agent": "count", "run_id": "r1", "input": "hi", "state": {"order": {"number": "O-99"}}}
        assert (await stage.house.client.post("/v1/runs", json=given)).status_code == 201
        await stage.house.client.get("/v1/runs/r1", params={"after_seq": 3, "wait": 5})
        page = await (await stage.room.visitor()).visit("r1")
        state = page.locator("#state pre")
        await expect(state).to_contain_text('"number": "O-99"')
        await expect(state).to_contain_text('"lines": 2')
        go.set()
        await expect(page.locator("#status")).to_have_text("Completed")
        await expect(state).to_contain_text('"paid": true')
        await expect(state).to_contain_text('"number": "O-99"')
        await page.get_by_role("slider", name="Replay").fill("1")
        await expect(state).to_be_hidden()


async def test_a_run_that_fails_says_why(open_stage: OpenStage) -> None:
    async def broken(run: Any) -> AsyncIterator[Any]:
        yield "I begin. "
        raise ZeroDivisionError("by nothing")

    async with open_stage(broken=broken) as stage:
        await stage.start("broken")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#status")).to_have_text("Failed")
        await expect(page.locator("#error")).to_contain_text("AGENT_ERROR")


async def test_what_an_agent_says_is_never_html_and_only_web_addresses_are_links(open_stage: OpenStage) -> None:
    evil = '<img src="http://evil.example/x.png" onerror="document.title=1"> javascript:alert(1) https://example.org/a?b=1.'

    async def agent(run: Any) -> AsyncIterator[Any]:
        yield evil
        yield run.tool_call("<b>tool</b>", {"html": evil}, {"html": evil})
        yield run.interrupt(evil, name="<i>gate</i>", response_schema={
            "type": "object", "title": evil, "required": ["approved"],
            "properties": {
                "approved": {"type": "boolean"}, "note": {"type": "string", "title": evil, "description": evil},
            },
        }, values={"note": evil})  # fmt: skip

    async with open_stage(agent=agent) as stage:
        await stage.start("agent", text=evil)
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        assert await page.locator("main img, main b, main i").count() == 0
        assert {await link.get_attribute("href") for link in await page.locator("main a").all()} == {
            "https://example.org/a?b=1", "http://evil.example/x.png",
        }  # fmt: skip
        await expect(page.locator(".form").get_by_role("textbox")).to_have_value(evil)
        assert "waiting" in (await page.title()).lower()


async def test_a_run_of_ten_thousand_events_stays_usable(open_stage: OpenStage) -> None:
    async def long(run: Any) -> AsyncIterator[Any]:
        for number in range(500):
            part = {"messageId": f"m{number}"}
            said = [{"type": "TEXT_MESSAGE_CONTENT", **part, "delta": f"{number}:{word} "} for word in WORDS[:18]]
            yield [{"type": "TEXT_MESSAGE_START", **part, "role": "assistant"}, *said]
            yield [{"type": "TEXT_MESSAGE_END", **part}, run.state({"step": number})]

    async with open_stage(long=long) as stage:
        await stage.start("long")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#status")).to_have_text("Completed", timeout=15_000)
        await expect(page.locator("#transcript > li")).to_have_count(500)
        slider = page.get_by_role("slider", name="Replay")
        assert int(await slider.get_attribute("max") or 0) > 10_000
        took_ms = await page.evaluate(
            """async () => {
              const slider = document.getElementById("seq");
              const begun = performance.now();
              for (let seq = 9000; seq > 8000; seq -= 100) {
                slider.value = String(seq);
                slider.dispatchEvent(new Event("input"));
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
              }
              return (performance.now() - begun) / 10;
            }"""
        )
        assert took_ms < 500, "a step of the slider must not be felt"
        await expect(page.locator("#transcript")).not_to_contain_text("499:")
