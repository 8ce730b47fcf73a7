"""A run waits, and a person answers on its page: approve, reject, fill in, too late, twice, and in two tabs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import expect

from protocol.answers import Answer
from protocol.entries import Principal
from runtime.asks import Resume
from tests.gateway.page.stage import OpenStage

pytestmark = pytest.mark.anyio

PAYMENT = {
    "type": "object",
    "required": ["approved", "amount"],
    "properties": {
        "approved": {"type": "boolean"},
        "amount": {"type": "number", "title": "Amount to pay", "description": "In euro.", "maximum": 100},
        "note": {"type": "string"},
    },
}
TRIP = {
    "type": "object",
    "required": ["city", "nights", "class"],
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "nights": {"type": "integer", "minimum": 1},
        "class": {"enum": ["plain", "good"]},
        "meals": {"type": "boolean"},
        "when": {"type": "string", "format": "date"},
        "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "comment": {"type": "string"},
    },
}


async def confirm(run: Any) -> AsyncIterator[Any]:
    if "pay" not in run.answers:
        yield run.interrupt("Shall I pay?", name="pay")
        return
    yield "approved" if run.answers["pay"].approved else "rejected"


async def pay(run: Any) -> AsyncIterator[Any]:
    if "pay" not in run.answers:
        yield run.interrupt("Shall I pay?", name="pay", response_schema=PAYMENT, values={"amount": 120})
        return
    yield f"told {run.answers['pay'].payload}"


async def travel(run: Any) -> AsyncIterator[Any]:
    if "trip" not in run.answers:
        yield run.interrupt("Where do you want to go?", name="trip", response_schema=TRIP)
        return
    yield f"told {sorted(run.answers['trip'].payload.items())}"


async def several(run: Any) -> AsyncIterator[Any]:
    if "one" not in run.answers:
        yield run.interrupts(
            run.question("Shall I pay?", name="one"),
            run.question("In which city?", name="two", response_schema={
                "type": "object", "required": ["city"], "properties": {"city": {"type": "string", "minLength": 2}},
            }),
        )  # fmt: skip
        return
    yield f"told {run.answers['one'].approved} {run.answers['two'].payload}"


async def test_approving_lets_the_run_go_on_and_stands_in_the_timeline(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.get_by_role("heading", name="Shall I pay?")).to_be_focused()
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#transcript")).to_contain_text("approved")
        await expect(page.locator("#notice")).to_have_text("Your answer is recorded.")
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        await expect(page.locator('#timeline [data-what="answered"]')).to_contain_text("approved")
        await expect(page.locator('#timeline [data-what="waits"]')).to_contain_text("Shall I pay?")


async def test_rejecting_tells_the_agent_so(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_role("button", name="Reject").click()
        await expect(page.locator("#transcript")).to_contain_text("rejected")
        await expect(page.locator('#timeline [data-what="answered"]')).to_contain_text("rejected")


async def test_a_question_can_be_cancelled_instead_of_answered(open_stage: OpenStage) -> None:
    async def ask(run: Any) -> AsyncIterator[Any]:
        if "pay" not in run.answers:
            yield run.interrupt("Shall I pay?", name="pay")
            return
        yield f"status {run.answers['pay'].status}"

    async with open_stage(ask=ask) as stage:
        await stage.start("ask")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_role("button", name="Cancel the question").click()
        await expect(page.locator("#transcript")).to_contain_text("status cancelled")


async def test_a_form_is_made_from_the_schema_and_what_is_left_empty_is_not_sent(open_stage: OpenStage) -> None:
    async with open_stage(travel=travel) as stage:
        await stage.start("travel")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("City").fill("Oslo")
        await page.get_by_label("Nights").fill("3")
        await page.get_by_label("Class").select_option("good")
        await page.get_by_label("Meals").check()
        await page.get_by_label("When").fill("2026-12-24")
        await page.get_by_role("button", name="Add entry").click()
        await page.get_by_label("Name").fill("<Ada & Bo>")
        await page.get_by_role("button", name="Submit").click()
        told = [("city", "Oslo"), ("class", "good"), ("guests", [{"name": "<Ada & Bo>"}]), ("meals", True),
                ("nights", 3), ("when", "2026-12-24")]  # fmt: skip
        await expect(page.locator("#transcript")).to_contain_text(f"told {sorted(told)}")


async def test_the_gate_prefills_the_form_and_a_refusal_keeps_what_was_typed(open_stage: OpenStage) -> None:
    async with open_stage(pay=pay) as stage:
        await stage.start("pay")
        page = await (await stage.room.visitor()).visit("r1")
        amount, note = page.get_by_label("Amount to pay"), page.get_by_label("Note")
        await expect(amount).to_have_value("120")
        await note.fill("please hurry")
        await page.get_by_role("button", name="Approve").click()
        faults = page.locator(".faults")
        await expect(faults).to_be_focused()
        await expect(faults).to_contain_text("Amount to pay: 120 is greater than the maximum of 100")
        await expect(amount).to_have_attribute("aria-invalid", "true")
        described = (await amount.get_attribute("aria-describedby") or "").split()
        texts = [await page.locator(f"[id='{one}']").inner_text() for one in described]
        assert texts == ["In euro.", "120 is greater than the maximum of 100"]
        await expect(note).to_have_value("please hurry")
        await faults.get_by_role("button").click()
        await expect(amount).to_be_focused()
        await amount.fill("90")
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#transcript")).to_contain_text("please hurry")
        await expect(page.locator("#transcript")).to_contain_text("90")


async def test_a_required_field_that_is_left_empty_is_named(open_stage: OpenStage) -> None:
    async with open_stage(travel=travel) as stage:
        await stage.start("travel")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("City").fill("Oslo")
        await page.get_by_role("button", name="Submit").click()
        await expect(page.locator(".faults")).to_contain_text("Nights: ")
        await expect(page.locator(".faults")).to_contain_text("Class: ")
        await expect(page.get_by_label("Nights")).to_have_attribute("aria-invalid", "true")
        await expect(page.get_by_label("City")).to_have_value("Oslo")


async def test_a_double_click_answers_once(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await page.get_by_role("button", name="Approve").dblclick()
        await expect(page.locator("#status")).to_have_text("Completed")
        assert len(visitor.posts("/resume")) == 1
        await expect(page.locator("#notice")).to_have_text("Your answer is recorded.")


async def test_of_two_tabs_one_decides_and_the_other_is_told_who(open_stage: OpenStage) -> None:
    async with open_stage(pay=pay) as stage:
        await stage.start("pay")
        first = await stage.room.visitor()
        second = await stage.room.visitor(beside=first)
        one, other = await first.visit("r1"), await second.visit("r1")
        await other.get_by_label("Amount to pay").fill("80")
        await one.get_by_label("Amount to pay").fill("70")
        await one.get_by_role("button", name="Reject").click()
        await expect(one.locator("#notice")).to_have_text("Your answer is recorded.")
        await expect(other.locator("#notice")).to_contain_text("Development")
        await expect(other.locator("#notice")).to_be_focused()
        await expect(other.get_by_role("button", name="Approve")).to_have_count(0)
        assert second.posts("/resume") == []


async def test_a_stale_tab_is_told_who_decided_when_it_answers(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        first = await stage.room.visitor()
        second = await stage.room.visitor(beside=first)
        one, other = await first.visit("r1"), await second.visit("r1")
        await expect(other.get_by_role("button", name="Reject")).to_be_visible()
        await other.route("**/events", lambda route: route.abort())
        await stage.cut_streams()  # the second tab stays behind, the first comes back
        await expect(other.locator("#connection")).to_contain_text("Connection lost")
        await one.get_by_role("button", name="Approve").click()
        await expect(one.locator("#status")).to_have_text("Completed")
        await other.get_by_role("button", name="Reject").click()
        await expect(other.locator("#notice")).to_contain_text("Development answered, through")
        await expect(other.get_by_role("button", name="Reject")).to_be_disabled()
        await other.unroute("**/events")
        await expect(other.locator("#status")).to_have_text("Completed", timeout=10_000)
        await expect(other.locator("#transcript")).to_contain_text("approved")


async def test_several_questions_are_answered_in_one_call(open_stage: OpenStage) -> None:
    async with open_stage(several=several) as stage:
        await stage.start("several")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        first = page.get_by_role("article", name="Shall I pay?")
        second = page.get_by_role("article", name="In which city?")
        await second.get_by_label("City").fill("O")
        await second.get_by_role("button", name="Submit").click()
        await page.get_by_role("button", name="Send all answers").click()
        await expect(first.get_by_role("heading")).to_be_focused()
        await first.get_by_role("button", name="Approve").click()
        await expect(first.get_by_role("button", name="Approve")).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("button", name="Send all answers").click()
        await expect(second.locator(".faults")).to_contain_text("City: ")
        await expect(first.locator(".faults")).to_be_hidden()
        await second.get_by_label("City").fill("Oslo")
        await page.get_by_role("button", name="Send all answers").click()
        await expect(page.locator("#transcript")).to_contain_text("told True {'city': 'Oslo'}")
        assert len(visitor.posts("/resume")) == 2


async def test_a_question_answered_elsewhere_leaves_the_others_as_they_were_typed(open_stage: OpenStage) -> None:
    async with open_stage(several=several) as stage:
        await stage.start("several")
        page = await (await stage.room.visitor()).visit("r1")
        second = page.get_by_role("article", name="In which city?")
        await second.get_by_label("City").fill("Oslo")
        by = Principal("default", "bob", "user", "Bob")
        (first,) = [one for one in (await stage.house.engine.state("r1", by)).interrupts if "pay" in one["message"]]
        answer = Answer(first["id"], payload={"approved": True})
        await stage.house.engine.resume("r1", Resume([answer], partial=True), by, "mcp")
        await expect(page.get_by_role("article", name="Shall I pay?")).to_have_count(0)
        await expect(page.locator("#notice")).to_contain_text("Bob answered, through MCP")
        await expect(second.get_by_label("City")).to_have_value("Oslo")
        await second.get_by_role("button", name="Submit").click()
        await page.get_by_role("button", name="Send all answers").click()
        await expect(page.locator("#transcript")).to_contain_text("told True {'city': 'Oslo'}")


async def test_a_press_that_got_no_answer_is_repeated_under_its_key_and_counts_once(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await page.route("**/resume", lambda route: route.abort(), times=1)
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator(".faults")).to_contain_text("could not be sent")
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#status")).to_have_text("Completed")
        keys = [one.headers["idempotency-key"] for one in visitor.posts("/resume")]
        assert len(keys) == 2 and len(set(keys)) == 1


async def test_a_person_who_may_not_answer_is_told_so(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1")
        refusal = {"code": "forbidden", "detail": "The scope runs:resume is missing."}
        await page.route("**/resume", lambda route: route.fulfill(status=403, json=refusal))
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#notice")).to_have_text("You may look at this run, but not answer it.")
        await expect(page.get_by_role("button", name="Approve")).to_be_disabled()


async def test_a_question_that_nobody_answers_in_time_is_told_to_have_expired(open_stage: OpenStage) -> None:
    async def ask(run: Any) -> AsyncIterator[Any]:
        yield run.interrupt("Shall I pay?", name="pay", expires_in_s=4, on_expiry="cancel")

    async with open_stage(ask=ask) as stage:
        await stage.start("ask")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        await expect(page.locator("#notice")).to_contain_text("Nobody answered in time", timeout=10_000)
        await expect(page.locator("#status")).to_have_text("Cancelled")
        await expect(page.locator('#timeline [data-what="expired"]')).to_be_visible()
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_a_question_counts_down_and_is_closed_when_its_time_is_over(open_stage: OpenStage) -> None:
    async def ask(run: Any) -> AsyncIterator[Any]:
        yield run.interrupt("Shall I pay?", name="pay", expires_in_s=600)

    async with open_stage(ask=ask) as stage:
        await stage.start("ask")
        visitor = await stage.room.visitor()
        await visitor.page.clock.install()
        page = await visitor.visit("r1")
        await expect(page.get_by_role("timer")).to_contain_text("Open for another")
        await page.clock.fast_forward(601_000)
        await expect(page.get_by_role("timer")).to_have_text("This question has expired.")
        await expect(page.get_by_role("button", name="Approve")).to_be_disabled()


async def test_in_the_past_nothing_can_be_answered(open_stage: OpenStage) -> None:
    async with open_stage(pay=pay) as stage:
        await stage.start("pay")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("Note").fill("kept")
        await page.get_by_role("slider", name="Replay").fill("2")
        await expect(page.locator("#gate")).to_be_hidden()
        await page.get_by_role("button", name="Back to live").click()
        await expect(page.get_by_label("Note")).to_have_value("kept")
        await expect(page.get_by_role("button", name="Approve")).to_be_enabled()


async def test_a_person_who_types_is_not_torn_away_by_a_new_question(open_stage: OpenStage) -> None:
    go = asyncio.Event()

    async def ask(run: Any) -> AsyncIterator[Any]:
        yield "thinking"
        await go.wait()
        yield run.interrupt("Shall I pay?", name="pay")

    async with open_stage(ask=ask) as stage:
        await stage.start("ask")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.locator("#transcript")).to_contain_text("thinking")
        await page.evaluate("document.body.append(Object.assign(document.createElement('input'), {id: 'typing'}))")
        await page.locator("#typing").focus()
        go.set()
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        await expect(page.locator("#typing")).to_be_focused()
        await expect(page.locator("#announcer")).to_have_text("The run asks you a question.")


async def test_a_run_is_cancelled_with_a_second_press(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.start("confirm")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        await page.get_by_role("button", name="Cancel the run").click()
        assert visitor.posts("/cancel") == []
        await page.get_by_role("button", name="Press again to cancel the run").click()
        await expect(page.locator("#status")).to_have_text("Cancelled")
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
