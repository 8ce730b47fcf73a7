"""The page works with the keyboard alone and for a screen reader, at phone width, in light and in dark."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.gateway.page.stage import OpenStage, Stage
from tests.gateway.page.test_gates import TRIP, pay, travel

pytestmark = pytest.mark.anyio

LONG = "x" * 400
UNNAMED = """() => [...document.querySelectorAll("input, select, textarea, button")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.labels?.[0]?.textContent.trim() || one.getAttribute("aria-label") || one.textContent.trim()))
  .map((one) => one.outerHTML)"""
TWICE = """() => [...document.querySelectorAll("[id]")].map((one) => one.id)
  .filter((id, at, all) => all.indexOf(id) !== at)"""
LEVELS = """() => [...document.querySelectorAll("h1, h2, h3")]
  .filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1]))"""
PALE = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && !one.disabled && !one.closest(".unseen, .skip"))
    .filter((one) => [...one.childNodes].some((part) => part.nodeType === 3 && part.data.trim()))
    .map((one) => {
      const pair = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => a - b);
      return [(pair[1] + 0.05) / (pair[0] + 0.05), one.outerHTML.slice(0, 80)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


async def wide(run: Any) -> AsyncIterator[Any]:
    yield f"{LONG} https://example.org/{LONG}"
    yield run.reasoning(LONG)
    yield run.tool_call(LONG, {"key": LONG}, {"key": LONG})
    yield run.state({"key": LONG})
    yield run.interrupt(LONG, name="trip", response_schema=TRIP)


async def open_gate(stage: Stage, agent: str, **options: Any) -> Page:
    await stage.start(agent)
    page = await (await stage.room.visitor(**options)).visit("r1")
    await expect(page.get_by_role("button", name="Cancel the question")).to_be_visible()
    return page


async def tab_to(page: Page, name: str) -> None:
    """Presses Tab until what has that name has the focus."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        at = "(document.activeElement.labels?.[0] ?? document.activeElement).textContent"
        if name in str(await page.evaluate(at)):
            return
    raise AssertionError(f"Tab does not lead to {name}")


async def test_a_form_is_filled_in_and_sent_with_the_keyboard_alone(open_stage: OpenStage) -> None:
    async with open_stage(travel=travel) as stage:
        page = await open_gate(stage, "travel")
        await tab_to(page, "City")
        await page.keyboard.type("Oslo")
        await tab_to(page, "Nights")
        await page.keyboard.type("2")
        await tab_to(page, "Class")
        await page.keyboard.type("plain")
        await tab_to(page, "Meals")
        await page.keyboard.press("Space")
        await tab_to(page, "Submit")
        await page.keyboard.press("Enter")
        await expect(page.locator("#transcript")).to_contain_text("Oslo")
        await expect(page.locator("#notice")).to_be_focused()


async def test_the_slider_answers_to_the_keyboard(open_stage: OpenStage) -> None:
    async with open_stage(travel=travel) as stage:
        page = await open_gate(stage, "travel")
        slider = page.get_by_role("slider", name="Replay")
        await slider.focus()
        await page.keyboard.press("ArrowLeft")
        await expect(page.get_by_role("button", name="Back to live")).to_be_visible()
        await page.keyboard.press("End")
        await expect(page.get_by_role("button", name="Back to live")).to_be_hidden()


async def test_everything_that_can_be_used_has_a_name_and_every_id_stands_once(open_stage: OpenStage) -> None:
    async with open_stage(travel=travel) as stage:
        page = await open_gate(stage, "travel")
        await page.get_by_role("button", name="Add entry").click()
        await page.get_by_role("button", name="Add entry").click()
        assert await page.evaluate(UNNAMED) == []
        assert await page.evaluate(TWICE) == []
        for landmark in ("banner", "main", "complementary", "contentinfo"):
            await expect(page.get_by_role(landmark)).to_have_count(1)  # type: ignore[arg-type]
        levels = await page.evaluate(LEVELS)
        assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_its_ground(scheme: str, open_stage: OpenStage) -> None:
    async with open_stage(pay=pay) as stage:
        page = await open_gate(stage, "pay", color_scheme=scheme)
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator(".faults")).to_be_visible()
        assert await page.evaluate(PALE) == []


@pytest.mark.parametrize("width", [320, 390])
async def test_nothing_is_wider_than_a_phone(width: int, open_stage: OpenStage) -> None:
    async with open_stage(wide=wide) as stage:
        page = await open_gate(stage, "wide", viewport={"width": width, "height": 640})
        for summary in await page.locator("#transcript summary").all():
            await summary.click()
        assert await page.evaluate("document.documentElement.scrollWidth") == width
