"""The run page in a real browser, as a person meets it."""

import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

SECONDS_MS = 15_000


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    assert found, "there is no browser: install the package chromium"
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=quiet)
        shown = browser.new_page()
        shown.set_default_timeout(SECONDS_MS)
        yield shown
        browser.close()


@pytest.mark.requirement("CIN-017")
def test_a_person_sees_the_question_on_the_page_and_sending_its_form_resumes_the_run(
    page: Page, http: httpx.Client, base_url: str, name: str
) -> None:
    body = {"agent": "reviewing", "input": "hi", "run_id": name}
    run = http.post("/v1/runs", json=body, headers={"prefer": "wait=10"}).json()
    assert run["status"] == "waiting"
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(httpx.URL(request.url).netloc.decode()))
    page.goto(f"{base_url}/agents/status/{name}")
    expect(page.get_by_role("heading", name="The run asks you")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    told = http.get(f"/v1/runs/{name}").json()
    assert told["status"] == "completed" and told["decisions"][0]["decision"] == "approve"
    assert told["decisions"][0]["face"] == "page"
    assert hosts <= {httpx.URL(base_url).netloc.decode()}
