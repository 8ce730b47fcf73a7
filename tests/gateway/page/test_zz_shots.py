import asyncio, pytest, sys
from playwright.async_api import expect
sys.path.insert(0, "/tmp")
pytestmark = pytest.mark.anyio
SCHEMA={"type":"object","required":["approved","amount"],"properties":{"approved":{"type":"boolean"},"amount":{"type":"number","title":"Amount to pay","description":"In euro, before tax.","minimum":0,"maximum":100},"account":{"enum":["Travel","Office","Other"]},"note":{"type":"string","maxLength":500},"urgent":{"type":"boolean","description":"Pay today."}}}
go = asyncio.Event()
async def invoice_checker(run):
    if "pay" in run.answers:
        yield f"Thank you. I have noted it: see https://example.org/invoices/17."
        yield run.tool_call("pay_invoice", {"amount": 90}, {"paid": True})
        return
    yield {"type":"STEP_STARTED","stepName":"Reading the invoice"}
    yield run.reasoning("I compare the invoice with its order first.")
    yield run.state({"invoice":"A-17","checked":False})
    for w in "I have read invoice A-17 from Acme Ltd. and compared it with the order. The total is 12 euro above what was agreed, because of a rush fee.".split(): yield w+" "
    await go.wait()
    yield run.tool_call("find_order", {"invoice":"A-17","supplier":"Acme Ltd."}, {"order":"O-99","agreed":108})
    yield run.state_delta({"op":"replace","path":"/checked","value":True})
    yield {"type":"STEP_FINISHED","stepName":"Reading the invoice"}
    yield run.interrupt("Shall I pay invoice A-17? The supplier asks for 120 euro.", name="pay", response_schema=SCHEMA, values={"amount":120}, expires_in_s=3600)
async def test_shots(open_stage):
    async with open_stage(**{"invoice-checker": invoice_checker}) as stage:
        for name, opts in {"light":dict(color_scheme="light"),"dark":dict(color_scheme="dark"),"phone":dict(viewport={"width":390,"height":844})}.items():
            go.clear()
            await stage.start("invoice-checker", name, "Please check invoice A-17.")
            page = await (await stage.room.visitor(**({"viewport":{"width":1280,"height":900}}|opts))).visit(name)
            await expect(page.locator("#transcript")).to_contain_text("rush fee")
            await page.screenshot(path=f"/tmp/shots/{name}-live.png")
            go.set()
            await expect(page.get_by_role("button", name="Approve")).to_be_visible()
            await page.wait_for_timeout(300)
            await page.screenshot(path=f"/tmp/shots/{name}-gate.png")
            await page.get_by_label("Amount to pay").fill("90")
            await page.get_by_role("button", name="Approve").click()
            await expect(page.locator("#status")).to_have_text("Completed")
            await page.wait_for_timeout(300)
            await page.locator("#transcript summary").last.click()
            await page.screenshot(path=f"/tmp/shots/{name}-completed.png")
            await page.get_by_role("slider").fill("20")
            await page.wait_for_timeout(300)
            await page.screenshot(path=f"/tmp/shots/{name}-replay.png")
