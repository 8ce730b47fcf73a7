"""What draws a question: the gate's hint, the schema form, or a JSON text field where no form can be drawn."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.gateway.page.stage import OpenStage

pytestmark = pytest.mark.anyio

CITY = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {"tree": {"type": "object", "properties": {"twig": {"$ref": "#/$defs/tree"}}}},
}
OWN = """
import { registerRenderer } from "/agents/page/renderers.js";

registerRenderer("acme:stars", {
  mount(element, interrupt, api) {
    const stars = document.createElement("button");
    stars.textContent = `Five stars for ${interrupt.message}`;
    stars.onclick = () => api.answer({ city: "five stars" });
    element.append(stars);
  },
});
registerRenderer("acme:wrapped", {
  async mount(element, interrupt, api) {
    const form = await api.form(element, api.schema, { city: "Rome" });
    api.press("Book it", () => form.read(), "primary");
    return form;
  },
});
registerRenderer("acme:broken", {
  mount(element, interrupt, api) {
    element.append("half drawn");
    api.press("Half", () => ({}));
    throw new Error("no stars");
  },
});
"""


def asking(**question: Any) -> Callable[[Any], AsyncIterator[Any]]:
    async def agent(run: Any) -> AsyncIterator[Any]:
        if "trip" not in run.answers:
            yield run.interrupt("Where?", name="trip", **question)
            return
        yield f"told {run.answers['trip'].payload}"

    return agent


async def told(page: Page, text: str) -> None:
    await expect(page.locator("#transcript")).to_contain_text(f"told {text}")


async def test_a_registered_renderer_draws_the_question_that_names_it(tmp_path: Path, open_stage: OpenStage) -> None:
    (tmp_path / "own.js").write_text(OWN)
    agent = asking(response_schema=CITY, renderer="acme:stars")
    async with open_stage(renderers=tmp_path / "own.js", agent=agent) as stage:
        await stage.start("agent")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.get_by_role("button", name="Submit")).to_have_count(0)
        await page.get_by_role("button", name="Five stars for Where?").click()
        await told(page, "{'city': 'five stars'}")


async def test_a_renderer_may_use_the_form_of_the_schema(tmp_path: Path, open_stage: OpenStage) -> None:
    (tmp_path / "own.js").write_text(OWN)
    agent = asking(response_schema=CITY, metadata={"xRenderer": "acme:wrapped"})
    async with open_stage(renderers=tmp_path / "own.js", agent=agent) as stage:
        await stage.start("agent")
        page = await (await stage.room.visitor()).visit("r1")
        await expect(page.get_by_label("City")).to_have_value("Rome")
        await page.get_by_role("button", name="Book it").click()
        await told(page, "{'city': 'Rome'}")


async def test_a_renderer_that_throws_gives_way_to_the_form_with_a_note(tmp_path: Path, open_stage: OpenStage) -> None:
    (tmp_path / "own.js").write_text(OWN)
    agent = asking(response_schema=CITY, renderer="acme:broken")
    async with open_stage(renderers=tmp_path / "own.js", agent=agent) as stage:
        await stage.start("agent")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await expect(page.locator("#gate .note")).to_contain_text("The renderer acme:broken failed")
        await expect(page.get_by_text("half drawn")).to_have_count(0)
        await expect(page.get_by_role("button", name="Half")).to_have_count(0)
        await page.get_by_label("City").fill("Oslo")
        await page.get_by_role("button", name="Submit").click()
        await told(page, "{'city': 'Oslo'}")
        assert [line for line in visitor.complaints if "acme:broken" not in line] == []
        visitor.complaints.clear()


async def test_a_renderer_that_nobody_registered_is_the_form_of_the_schema(open_stage: OpenStage) -> None:
    async with open_stage(agent=asking(response_schema=CITY, renderer="nobody:knows")) as stage:
        await stage.start("agent")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("City").fill("Oslo")
        await page.get_by_role("button", name="Submit").click()
        await told(page, "{'city': 'Oslo'}")


async def test_a_module_of_renderers_that_fails_leaves_the_page_whole(tmp_path: Path, open_stage: OpenStage) -> None:
    (tmp_path / "own.js").write_text("this is not JavaScript")
    async with open_stage(renderers=tmp_path / "own.js", agent=asking(response_schema=CITY)) as stage:
        await stage.start("agent")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        await expect(page.get_by_label("City")).to_be_visible()
        assert any("renderers of this gateway" in line for line in visitor.complaints)
        visitor.complaints.clear()


async def test_a_question_without_a_schema_is_answered_in_words(open_stage: OpenStage) -> None:
    async with open_stage(agent=asking(reason="input_required")) as stage:
        await stage.start("agent")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("Your answer").fill("To Oslo, please.")
        await page.get_by_role("button", name="Submit").click()
        await told(page, "To Oslo, please.")


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object"}, "it names no fields"),
        (TREE, "it refers to itself"),
        ({"type": "object", "properties": {"a": {}}, "if": {"required": ["a"]}, "then": {}}, "it uses if"),
        ({"type": "object", "properties": {"a": {"type": ["string", "number"]}}}, "several types"),
        ({"type": "array", "items": {"enum": [1, "one"]}}, "values of several types"),
    ],
)  # fmt: skip
async def test_a_schema_that_cannot_be_drawn_says_so_and_takes_json(
    schema: dict[str, Any], why: str, open_stage: OpenStage
) -> None:
    async with open_stage(agent=asking(response_schema=schema)) as stage:
        await stage.start("agent")
        visitor = await stage.room.visitor()
        page = await visitor.visit("r1")
        field = page.get_by_label("Answer as JSON")
        await expect(page.locator("#gate")).to_contain_text(why)
        await field.fill("{broken")
        await page.get_by_role("button", name="Submit").click()
        await expect(page.locator(".faults")).to_contain_text("This is not JSON")
        assert visitor.posts("/resume") == []
        await field.fill('"no"')
        await page.get_by_role("button", name="Submit").click()
        await expect(page.locator(".faults")).to_contain_text("is not of type")
        await expect(field).to_have_value('"no"')
        await field.fill("[1]" if schema.get("type") == "array" else "{}")
        await page.get_by_role("button", name="Submit").click()
        await told(page, "[1]" if schema.get("type") == "array" else "{}")


async def test_without_the_library_a_question_is_still_answered(open_stage: OpenStage) -> None:
    async with open_stage(agent=asking(response_schema=CITY)) as stage:
        await stage.start("agent")
        page = (await stage.room.visitor()).page
        await page.route("**/jsoneditor.js", lambda route: route.fulfill(status=404))
        await page.goto(f"{stage.room.url}/agents/status/r1")
        await expect(page.locator("#gate")).to_contain_text("the form library was not installed")
        await page.get_by_label("Answer as JSON").fill('{"city": "Oslo"}')
        await page.get_by_role("button", name="Submit").click()
        await told(page, "{'city': 'Oslo'}")


async def test_references_choices_nullable_and_nested_fields_are_drawn(open_stage: OpenStage) -> None:
    schema = {
        "$defs": {"place": {"type": "object", "required": ["street"], "properties": {"street": {"type": "string"}}}},
        "type": "object",
        "required": ["home", "speed", "size"],
        "properties": {
            "home": {"$ref": "#/$defs/place"},
            "speed": {"oneOf": [{"const": "s", "title": "Slow"}, {"const": "f", "title": "Fast"}]},
            "size": {"enum": [1, 2, 3]},
            "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "tags": {"type": "array", "uniqueItems": True, "items": {"enum": ["red", "blue"]}},
            "pay": {"oneOf": [
                {"title": "Card", "type": "object", "required": ["no"], "properties": {"no": {"type": "string"}}},
                {"title": "Cash", "type": "object", "required": ["coins"], "properties": {"coins": {"const": "coins"}}},
            ]},
        },
    }  # fmt: skip
    async with open_stage(agent=asking(response_schema=schema)) as stage:
        await stage.start("agent")
        page = await (await stage.room.visitor()).visit("r1")
        await page.get_by_label("Street").fill("Main")
        await expect(page.get_by_label("Size")).to_have_value("_placeholder_")
        await page.get_by_label("Speed").select_option(label="Fast")
        await page.get_by_label("Size").select_option("2")
        await page.get_by_label("Nick").fill("Al")
        await page.get_by_label("blue").check()
        await page.get_by_label("Kind of answer").select_option(label="Cash")
        await page.get_by_label("Coins").select_option("coins")
        await page.get_by_role("button", name="Submit").click()
        for part in ("'home': {'street': 'Main'}", "'speed': 'f'", "'size': 2", "'nick': 'Al'", "'tags': ['blue']",
                     "'pay': {'coins': 'coins'}"):  # fmt: skip
            await expect(page.locator("#transcript")).to_contain_text(part)
