"""Who may look: a token of the run, a key that is used once and kept nowhere, and what a stranger is told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import expect

from tests.gateway.page.stage import OpenStage

pytestmark = pytest.mark.anyio


async def confirm(run: Any) -> AsyncIterator[Any]:
    if "pay" not in run.answers:
        yield run.interrupt("Shall I pay?", name="pay")
        return
    yield "thank you"


async def test_a_key_signs_in_and_is_kept_nowhere(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        key = await stage.lock()
        await stage.start("confirm")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        field = page.get_by_label("API key")
        await expect(field).to_be_focused()
        await field.fill("a-wrong-key")
        await field.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This key is not accepted.")
        await expect(field).to_have_value("")
        await field.fill(key)
        await page.get_by_role("button", name="Open the run").click()
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("#transcript")).to_contain_text("thank you")
        await expect(page.locator('#timeline [data-what="answered"]')).to_contain_text("approved")
        kept = await page.evaluate(
            "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])"
        )
        assert key not in kept and "token" in kept
        assert [one.url for one in visitor.requests if key in one.url] == []
        sent = [one for one in visitor.requests if one.headers.get("authorization") == f"Bearer {key}"]
        assert [one.url.rpartition("/")[2] for one in sent] == ["token"]


async def test_a_reload_keeps_the_person_signed_in(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        key = await stage.lock()
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Open the run").click()
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()


async def test_a_token_in_the_address_is_taken_over_and_removed_from_it(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.lock()
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1", f"#token={await stage.token()}")
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        assert await page.evaluate("location.href") == f"{stage.room.url}/agents/status/r1"


async def test_a_token_that_is_no_longer_good_leads_to_the_sign_in(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        await stage.lock()
        await stage.start("confirm")
        page = await (await stage.room.visitor()).visit("r1", "#token=long-gone")
        await expect(page.get_by_label("API key")).to_be_visible()


async def test_a_run_that_is_not_there_looks_like_one_that_is_not_yours(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        page = await (await stage.room.visitor()).visit("r9")
        await expect(page.get_by_role("alert")).to_have_text("There is no such run, or it is not yours to see.")


async def test_the_token_is_renewed_before_it_runs_out_with_itself(open_stage: OpenStage) -> None:
    async with open_stage(confirm=confirm) as stage:
        key = await stage.lock()
        await stage.start("confirm")
        visitor = await stage.room.visitor()
        await visitor.page.clock.install()
        page = await visitor.visit("r1")
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Open the run").click()
        await expect(page.get_by_role("button", name="Approve")).to_be_visible()
        token = await page.evaluate("JSON.parse(sessionStorage['hocket.token.r1']).token")
        async with page.expect_request("**/token") as renewed:
            await page.clock.fast_forward(3_600_000)
        assert (await renewed.value).headers["authorization"] == f"Bearer {token}"
