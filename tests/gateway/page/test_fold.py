"""The page folds a run as the log does: random runs, folded by both, and the past folded from its checkpoints."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from protocol.entries import public
from protocol.state import RunState
from tests.gateway.page.stage import OpenStage
from tests.strategies import folded, runs

pytestmark = pytest.mark.anyio

RUNS = 150
FOLDED = """async (cases) => {
  const { beginning, fold, spoken } = await import("/agents/page/fold.js");
  return cases.map((events) => {
    const view = beginning();
    events.forEach((event, at) => fold(view, at + 1, event));
    const said = view.items.filter((one) => one.kind === "text" || one.kind === "reasoning");
    const calls = view.items.filter((one) => one.kind === "tool");
    return {
      status: view.status,
      gates: view.gates.map((gate) => gate.id),
      said: Object.fromEntries(said.map((one) => [one.key.slice(2), one.text])),
      calls: Object.fromEntries(calls.map((one) => [one.key.slice(2), [one.name, one.text, one.results]])),
      given_up: [...said.filter((one) => one.text), ...calls].filter((one) => one.abandoned)
        .map((one) => one.key).sort(),
      state: view.state ?? {},
    };
  });
}"""
SAME_PAST = """async (cases) => {
  const { Past } = await import("/agents/page/past.js");
  const { beginning, fold } = await import("/agents/page/fold.js");
  const told = (view) => JSON.stringify([view.seq, view.status, view.items, view.marks, view.gates, view.state]);
  for (const events of cases) {
    const long = Array.from({ length: 1200 }, (_, at) => events[at % events.length]);
    const past = new Past();
    long.forEach((event, at) => past.add(at + 1, event));
    for (const seq of [1, 249, 250, 251, 700, 1200]) {
      const anew = beginning();
      long.slice(0, seq).forEach((event, at) => fold(anew, at + 1, event));
      if (told(past.at(seq)) !== told(anew)) return `not the same at ${seq}`;
    }
    if (told(past.live) !== told(past.at(1200))) return "not the same live";
  }
  return "the same";
}"""


def seen(state: RunState) -> dict[str, Any]:
    """What the page draws of a run, from the server's fold; of what was sent with the start it sees nothing."""
    said, calls, results, given_up = {}, {}, dict[str, list[str]](), set()
    for message in state.messages:
        wire = message.wire()
        abandoned = bool(wire.get("metadata", {}).get("hocket", {}).get("abandoned"))
        if message.role == "tool":
            results.setdefault(wire["toolCallId"], []).append(told(wire["content"]))
        elif message.role != "activity" and (message.text is not None or not message.calls):
            said[message.id] = told(wire.get("content"))
        for call in message.calls:
            calls[call.id] = [call.name, "".join(call.args), []]
        if abandoned:
            given_up |= {f"t:{call.id}" for call in message.calls}
            given_up |= {f"m:{message.id}"} if said.get(message.id) else set()
    for call_id, answers in results.items():
        if call_id in calls:
            calls[call_id][2] = answers
    return {"status": state.status.value, "gates": [gate.interrupt_id for gate in state.open_gates], "said": said,
            "calls": calls, "given_up": sorted(given_up), "state": state.state}  # fmt: skip


def told(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text") or f"[{part.get('type', 'part')}]" for part in content)
    return content or ""


def random_runs() -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []

    @settings(max_examples=RUNS, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(runs(size_max=30))
    def collect(events: list[dict[str, Any]]) -> None:
        found.append(events)

    collect()
    return found


def shown(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [public(event) if event["type"].startswith("ask.") else event for event in events]


async def test_the_page_folds_random_runs_as_the_log_does(open_stage: OpenStage) -> None:
    cases = random_runs()
    async with open_stage() as stage:
        page = await (await stage.room.visitor()).visit("none")
        drawn = await page.evaluate(FOLDED, [shown(events) for events in cases])
    for events, view in zip(cases, drawn, strict=True):
        state = folded(events)
        wanted = seen(state)
        unseen = [message["id"] for message in events[0]["input"]["messages"]]
        for one in (wanted, view):
            one["said"] = {name: text for name, text in one["said"].items() if text and name not in unseen}
            one["given_up"] = [key for key in one["given_up"] if key[2:] not in unseen]
            if events[0]["input"]["state"]:
                one["state"] = None
        assert view == wanted, "\n".join(map(str, shown(events)))


async def test_the_past_is_the_same_from_checkpoints_and_from_the_beginning(open_stage: OpenStage) -> None:
    cases = [shown(events) for events in random_runs()[-8:]]
    async with open_stage() as stage:
        page = await (await stage.room.visitor()).visit("none")
        assert await page.evaluate(SAME_PAST, cases) == "the same"
