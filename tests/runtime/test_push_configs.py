"""What a webhook may be, and its record under many hands."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from protocol.errors import Invalid
from runtime import push_configs
from runtime.layout import PUSH
from runtime.log import Log
from runtime.push_configs import PushConfig, Record, Standing, check, load

pytestmark = pytest.mark.anyio

GOOD = PushConfig("c1", "https://example.com/hook", "token", "Bearer", "credentials")


@pytest.mark.parametrize(
    "more",
    [
        {}, {"token": ""}, {"scheme": "", "credentials": ""}, {"credentials": ""}, {"version": "0.3"}, {"id": "ü" * 64},
        {"url": "http://no-such-host.invalid/"}, {"token": "a b=c"}, {"token": "x" * 4096},
    ],
)  # fmt: skip
def test_what_can_be_sent_to_and_with_is_taken(more: dict[str, Any]) -> None:
    check(replace(GOOD, **more), loopback=False)


@pytest.mark.parametrize(
    "more",
    [
        {"id": ""}, {"id": "x" * 129}, {"url": "ftp://example.com/"}, {"url": "http://127.0.0.1/"},
        {"url": "https://example.com/" + "x" * 2048}, {"token": "x" * 4097}, {"credentials": "x" * 4097},
        {"token": "a\r\nX-Evil: 1"}, {"token": "a\nb"}, {"token": "a\x00"}, {"token": " a"}, {"token": "a "},
        {"token": "ä"}, {"credentials": "a\r\nX-Evil: 1"}, {"scheme": "Bearer\r\nX-Evil: 1"}, {"scheme": "a b"},
        {"scheme": "x" * 65}, {"scheme": ""}, {"version": "2.0"}, {"version": "1.0\r\nX: y"},
    ],
)  # fmt: skip
def test_what_cannot_is_refused_with_a_sentence_that_quotes_no_secret(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        check(replace(GOOD, **more), loopback=False)
    assert refused.value.message.endswith(".") and "Evil" not in refused.value.message


def test_no_form_for_people_shows_a_secret() -> None:
    standing = Standing(replace(GOOD, token="s3cret", credentials="s3cret"), 1, 1, error="s3cret")
    assert "s3cret" not in f"{standing!r} {standing}"


async def test_a_record_is_kept_as_it_was_written_and_none_is_empty(log: Log) -> None:
    assert await load(log, "run.default.r1") == ({}, 0)
    one = Standing(GOOD, 3, 4, 2, 1, 5, 6, "500", "claim", 7)
    await push_configs.change(log, "run.default.r1", lambda _: {"c1": one})
    assert (await load(log, "run.default.r1"))[0] == {"c1": one}
    assert set(await log.keys(PUSH)) == {"default.r1"}
    await push_configs.change(log, "run.default.r1", lambda _: {})
    assert (await load(log, "run.default.r1"))[0] == {}
    assert await push_configs.change(log, "run.default.r1", lambda _: None) is None


async def test_of_many_who_write_at_once_none_is_lost(log: Log) -> None:
    def counted(record: Record) -> Record:
        return {"c1": replace(record["c1"], attempts=record["c1"].attempts + 1)}

    await push_configs.change(log, "run.default.r1", lambda _: {"c1": Standing(GOOD, 0, 0)})
    await asyncio.gather(*(push_configs.change(log, "run.default.r1", counted) for _ in range(20)))
    assert (await load(log, "run.default.r1"))[0]["c1"].attempts == 20
