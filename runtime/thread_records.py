"""What is written down of a thread besides its runs: who opened it, and what was posted to it for its next run.

A record lies in the bucket THREAD_RECORDS under `<tenant>.<thread>` and is written by compare-and-set alone. A thread
that began with a run has none until something is posted to it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from protocol.entries import Principal
from protocol.subjects import decode_token, encode_token

from .layout import THREAD_RECORDS
from .log import Log

WAITING_MAX = 100
TAKEN_MAX = 200
"""How many messages that runs have taken are remembered for who posted them and when; the oldest give way."""


@dataclass(frozen=True, slots=True)
class Post:
    """A user's message. `content` is None once a run has taken it, for then the run's start holds it."""

    id: str
    content: str | None
    at_ms: int
    by: Principal


@dataclass(frozen=True, slots=True)
class Record:
    """`created_at_ms` and `by` are None where the thread began with a run. What waits was in no start up to and with
    that of `seen`, the thread's head when this was written: a run, and the one before it in case it never came."""

    title: str | None = None
    private: bool = False
    created_at_ms: int | None = None
    updated_at_ms: int = 0
    by: Principal | None = None
    posts: tuple[Post, ...] = ()
    seen: tuple[str, ...] = ()

    @property
    def waiting(self) -> Sequence[Post]:
        return [post for post in self.posts if post.content is not None]

    def without(self, taken: set[str], seen: tuple[str, ...]) -> "Record":
        """After starts up to `seen` have been looked through and had those messages."""
        posts = [replace(post, content=None) if post.id in taken else post for post in self.posts]
        gone = [post.id for post in posts if post.content is None][:-TAKEN_MAX]
        return replace(self, posts=tuple(post for post in posts if post.id not in gone), seen=seen)


async def load(log: Log, tenant: str, thread_id: str) -> tuple[Record | None, int]:
    """The record as of now, and its revision (0: there is none). Raises Unavailable."""
    held = await log.get(THREAD_RECORDS, _key(tenant, thread_id), exact=True)
    return (decode(held.body), held.rev) if held is not None else (None, 0)


async def save(log: Log, tenant: str, thread_id: str, body: bytes, expected: int) -> int:
    """Raises WrongRevision, Unavailable."""
    return await log.put(THREAD_RECORDS, _key(tenant, thread_id), body, expected)


def encode(record: Record) -> bytes:
    return orjson.dumps(asdict(record))


def decode(body: bytes) -> Record:
    told: dict[str, Any] = orjson.loads(body)
    by = Principal(**told["by"]) if told["by"] else None
    posts = tuple(Post(**post | {"by": Principal(**post["by"])}) for post in told["posts"])
    return Record(**told | {"by": by, "posts": posts, "seen": tuple(told["seen"])})


def whose(subject: str) -> tuple[str, str]:
    """(tenant, thread id) of a record's subject."""
    tenant, thread_id = subject.split(".")[-2:]
    return decode_token(tenant), decode_token(thread_id)


def _key(tenant: str, thread_id: str) -> str:
    return f"{encode_token(tenant)}.{encode_token(thread_id)}"
