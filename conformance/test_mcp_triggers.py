"""Triggers by Cinatra's tools: runs that start by the clock and by events, as a script that only posts sees them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from conformance import scenario as s
from conformance.keyed import Keyed, served
from conformance.mcp_clients import begin, polled, post, result, told

Fresh = Callable[..., contextlib.AbstractContextManager[str]]
SET, GET, DELETE = (f"agent_run_trigger_{verb}" for verb in ("set", "get", "delete"))
SECONDS = 20.0
TICK_SECONDS = 75.0
"""A minute, which is the shortest time between two ticks of cron, and some."""


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def sleep_until(instant: str) -> None:
    time.sleep(max(0.0, (datetime.fromisoformat(instant) - datetime.now(UTC)).total_seconds()))


def found(http: httpx.Client, **target: str) -> s.Json | None:
    """The trigger; None where the text is `null`."""
    answer = result(http, GET, **target)
    if answer["content"][0]["text"] == "null":
        assert answer["structuredContent"] == {} and not answer.get("isError")
        return None
    trigger: s.Json = answer["structuredContent"]
    return trigger


def fired(http: httpx.Client, seconds: float = SECONDS, before: str | None = None, **target: str) -> s.Json:
    """The trigger once it has started a run, another one than `before`."""
    end = time.monotonic() + seconds
    while True:
        trigger = found(http, **target)
        assert trigger is not None and time.monotonic() < end, trigger
        if trigger["lastRunId"] not in (None, before):
            return trigger
        time.sleep(0.05)


def ended(http: httpx.Client, run_id: str) -> s.Json:
    return polled(http, run_id, "completed", "failed")


def of(http: httpx.Client, trigger: s.Json) -> list[str]:
    """The runs that the trigger has started, by what they say of it."""
    listed = told(http, "agent_run_list", limit=200, templateId=trigger["templateId"])
    runs = [told(http, "agent_run_get", runId=item["id"]) for item in listed["items"]]
    return [run["id"] for run in runs if run["sourceId"] == trigger["triggerId"]]


def the_next_has_fired(http: httpx.Client) -> None:
    """Once a trigger that was set after all others has fired: what was due before it has had its turn."""
    before = found(http, templateId="silent_at_first")
    told(http, SET, templateId="silent_at_first", triggerType="scheduled", scheduledAt=soon(0.5))
    fired(http, before=before["lastRunId"] if before is not None else None, templateId="silent_at_first")


@pytest.mark.requirement("CIN-018")
def test_by_the_clock_each_tick_starts_one_run_over_a_restart_and_what_is_off_starts_none(fresh: Fresh) -> None:
    off = ("raising", "endless")
    with fresh() as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        if (left := 60.0 - datetime.now(UTC).second) < 5:  # no tick is to pass while the trigger is being set
            time.sleep(left)
        due = soon(2.0)
        said = {"inputParams": {"message": "at last"}}
        once = told(http, SET, templateId="plain", **said, triggerType="scheduled", scheduledAt=due)
        assert once["jobSchedulerId"] == f"trigger-release-{once['triggerId']}"
        for agent in off:
            told(http, SET, templateId=agent, triggerType="scheduled", scheduledAt=due, enabled=agent != "raising")
        assert told(http, DELETE, templateId="endless") == {"ok": True}
        ticking = told(http, SET, templateId="reviewing", triggerType="recurring", cronExpression="* * * * *")
        tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    sleep_until(due)
    with fresh() as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        trigger = fired(http, templateId="plain")
        assert ended(http, trigger["lastRunId"])["streamedText"].startswith("You said: at last")
        first = fired(http, TICK_SECONDS, templateId="reviewing")
        while datetime.now(UTC) < tick + timedelta(seconds=2):
            time.sleep(0.2)
        the_next_has_fired(http)
        ticks = (datetime.now(UTC) - tick) // timedelta(minutes=1) + 1
        started = of(http, ticking)
        assert first["lastRunId"] in started and len(started) == ticks
        assert of(http, once) == [trigger["lastRunId"]] and trigger["releasedAt"] is not None
        disabled = found(http, templateId="raising")
        assert disabled is not None and not disabled["enabled"] and disabled["lastRunId"] is None
        assert found(http, templateId="endless") is None
        for agent in off:
            assert told(http, "agent_run_list", templateId=agent)["total"] == 0


@pytest.mark.requirement("CIN-019")
def test_an_event_starts_one_run_that_has_it_in_its_inputs(fresh: Fresh) -> None:
    with fresh() as url, httpx.Client(base_url=url, timeout=SECONDS) as http:
        message, run = {"subject": "orders.*"}, {"agent": "plain", "statuses": ["completed"]}
        told(http, SET, templateId="reviewing", triggerType="event", event=message, inputParams={"n": 1})
        told(http, SET, packageName="raising", triggerType="event", event=run)
        for subject in ("orders.new", "orders.new.really", "invoices.new"):
            sent = http.post(f"/v1/events/{subject}", json={"order": 7}, headers={"idempotency-key": subject})
            assert sent.status_code == 202, sent.text
        done = begin(http, "plain", message="x")
        other = begin(http, "endless", message="x")
        told(http, "agent_run_stop", runId=other)
        by_message = fired(http, templateId="reviewing")
        by_run = fired(http, templateId="raising")
        the_next_has_fired(http)
        assert of(http, by_message) == [by_message["lastRunId"]] and by_message["event"] == message
        assert of(http, by_run) == [by_run["lastRunId"]] and by_run["event"] == run
        given = told(http, "agent_run_get", runId=by_message["lastRunId"])["inputParams"]
        assert given == {"n": 1, "event": {"subject": "orders.new", "data": {"order": 7}}}
        seen = told(http, "agent_run_get", runId=by_run["lastRunId"])["inputParams"]["event"]
        assert (seen["agent"], seen["runId"], seen["status"]) == ("plain", done, "completed")


@pytest.mark.requirement("cinatra.trigger-target")
def test_a_target_has_one_trigger_by_either_name(http: httpx.Client) -> None:
    run_id = begin(http, "plain", message="x")
    for one, other in (({"templateId": "endless"}, {"packageName": "endless"}), ({"runId": run_id},) * 2):
        assert found(http, **one) is None
        made = told(http, SET, **one, triggerType="recurring", cronExpression="0 7 * * 1-5", timezone="Europe/Berlin")
        assert set(made) == {"runId", "templateId", "triggerId", "jobSchedulerId"}
        assert made["runId"] == one.get("runId") and made["jobSchedulerId"] == f"trigger-release-{made['triggerId']}"
        trigger = found(http, **other)
        assert trigger is not None and set(trigger) == {
            "runId", "templateId", "triggerId", "triggerType", "scheduledAt", "cronExpression", "timezone", "event",
            "enabled", "releasedAt", "lastRunId", "createdAt", "updatedAt",
        }  # fmt: skip
        assert (trigger["triggerType"], trigger["timezone"], trigger["enabled"]) == ("recurring", "Europe/Berlin", True)
        again = told(http, SET, **other, triggerType="event", event={"subject": "never.told"})
        assert again == made | {"jobSchedulerId": None}
        replaced = found(http, **one)
        assert replaced is not None and replaced["cronExpression"] is None and replaced["triggerType"] == "event"
        listed = http.get("/v1/triggers", params={"limit": 200}).json()["triggers"]
        assert [one["id"] for one in listed].count(made["triggerId"]) == 1
        assert told(http, DELETE, **one) == told(http, DELETE, **other) == {"ok": True}
        assert found(http, **one) is None


@pytest.mark.requirement("cinatra.trigger-run")
def test_a_run_is_the_template_of_its_triggers_runs(http: httpx.Client) -> None:
    run_id = told(http, "agent_run", templateId="plain", inputParams={"message": "again"}, timeoutSeconds=60)["runId"]
    template = ended(http, run_id)
    made = told(http, SET, runId=run_id, triggerType="immediate")
    assert (made["runId"], made["templateId"], made["jobSchedulerId"]) == (run_id, "plain", None)
    run = ended(http, fired(http, runId=run_id)["lastRunId"])
    for name in ("templateId", "inputParams", "timeoutSeconds", "streamedText", "runBy"):
        assert run[name] == template[name]
    assert run["a2aContextId"] != template["a2aContextId"] and run["id"] != run_id
    assert (run["sourceType"], run["sourceId"]) == ("trigger", made["triggerId"])
    assert run["audit"]["startedBy"]["kind"] == "trigger"
    assert told(http, "agent_run_get", runId=run_id) == template
    told(http, DELETE, runId=run_id)


REFUSED: list[tuple[s.Json, str]] = [
    ({"packageName": "plain"}, "exactly one"),
    ({"triggerType": "scheduled", "scheduledAt": "2020-01-01T00:00:00Z"}, "scheduledAt"),
    ({"triggerType": "scheduled"}, "scheduledAt"),
    ({"triggerType": "recurring", "cronExpression": "* * * * * *"}, "cronExpression"),
    ({"triggerType": "recurring", "cronExpression": "0 7 * * *", "timezone": "Mars/Base"}, "timezone"),
    ({"triggerType": "event", "event": {"subject": ">"}}, "event.subject"),
    ({"triggerType": "event", "event": {"agent": "plain"}}, "event"),
    ({"inputParams": "{"}, "inputParams"),
]


@pytest.mark.requirement("cinatra.trigger-refused")
@pytest.mark.parametrize(("more", "field"), REFUSED)
def test_what_cannot_be_is_an_ordinary_error(more: s.Json, field: str, http: httpx.Client) -> None:
    answer = told(http, SET, **{"templateId": "interrupting", "triggerType": "immediate"} | more)
    assert list(answer) == ["error"] and field in answer["error"]
    assert found(http, templateId="interrupting") is None


@pytest.mark.requirement("cinatra.trigger-refused", "cinatra.mcp-errors")
def test_arguments_that_break_the_schema_are_named(http: httpx.Client) -> None:
    for more, field in (({"triggerType": "never"}, "triggerType"), ({"more": 1}, "more"),
                        ({"cronExpression": "x" * 257}, "cronExpression")):  # fmt: skip
        answer = result(http, SET, **{"templateId": "plain", "triggerType": "immediate"} | more)
        assert answer["isError"] is True and field in answer["content"][0]["text"]
    assert told(http, SET, runId="nope", triggerType="immediate") == {"error": "Run not found: nope"}
    assert told(http, GET, runId="nope") == {"error": "Run not found: nope"}
    assert told(http, SET, templateId="nobody", triggerType="immediate")["code"] == "AGENT_UNAVAILABLE"


@pytest.fixture
def keyed(fresh: Fresh, tmp_path: Path) -> Iterator[Keyed]:
    with fresh() as url:
        yield Keyed(url, tmp_path / "data")


@pytest.mark.requirement("cinatra.trigger-owner")
def test_a_trigger_is_for_its_owner_or_an_admin(keyed: Keyed) -> None:
    made = {"ada": keyed.key("ada"), "ben": keyed.key("ben"), "root": keyed.key("root", "admin"),
            "reader": keyed.key("ada", "runs:read", "runs:start"), "eve": keyed.key("eve", tenant="evil")}  # fmt: skip
    denied, want = {"error": "Run access denied."}, {"templateId": "plain", "triggerType": "immediate"}
    with contextlib.ExitStack() as stack:
        who = {name: stack.enter_context(keyed.of(key)) for name, key in made.items()}
        assert all(served(client).status_code == 200 for client in who.values())
        assert told(who["reader"], SET, **want) == denied
        trigger_id = told(who["ada"], SET, **want)["triggerId"]
        run = ended(who["ada"], fired(who["ada"], templateId="plain")["lastRunId"])
        assert (run["runBy"], run["audit"]["startedBy"]["kind"]) == ("ada", "trigger")
        assert told(who["ben"], SET, **want) == told(who["ben"], DELETE, templateId="plain") == denied
        assert told(who["reader"], DELETE, templateId="plain") == denied
        seen = found(who["ben"], templateId="plain")
        assert seen is not None and seen["triggerId"] == trigger_id
        assert found(who["eve"], templateId="plain") is None
        assert told(who["eve"], DELETE, templateId="plain") == {"ok": True}
        assert found(who["ada"], templateId="plain") is not None
        assert told(who["root"], DELETE, templateId="plain") == {"ok": True}
        assert post(who["ada"], "ping", {}).status_code == 200 and found(who["ada"], templateId="plain") is None
