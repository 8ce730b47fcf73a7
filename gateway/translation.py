"""A run told in another system's words, live and from the past: folded once for all who listen to it here.

    follow ──> message ──> fold its entries, word each one ──> frames by number, kept as long as there is room
                                                                   │
    another client ──> the same message ──> the frames that are there already

What a dialect says of an entry may need what came before it (a call's name at its end, the whole run at a gate), so an
entry is worded from the run as it is right after it, and that is a matter of the log alone: whoever cuts a stream
anywhere is told the rest exactly as if there had been no cut.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.types import ASGIApp

from protocol.entries import Caller, Entry, decode
from protocol.errors import Unavailable
from protocol.run import fold
from protocol.state import RunState
from runtime.chunks import Chunk
from runtime.engine import Engine
from runtime.follow import Follow

from .auth import holding
from .stream import NO_HURRY, EventStream, Streams, head

Word = Callable[[RunState, Entry], bytes]
"""The frames of an entry, from the run right after it; empty for what the dialect does not tell. Of several frames only
the last has an id. It keeps nothing of the state, which goes on changing."""

KEEP_ALIVE = b": keepalive\n\n"
_RUNS_MAX = 32
_KEPT_BYTES_MAX = 2 << 20
_NEVER_FULL = 1 << 62
_LEFT_BYTES_MAX = 64 << 10
"""What is kept of a run that others have displaced, for the clients that still listen to it."""


class Translation:
    """One run in one dialect: `state` after the last entry that was folded, and the frames of what came last."""

    def __init__(self, word: Word, after_seq: int = 0, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        """Entries up to `after_seq` are folded and not told."""
        self.state = RunState()
        self.dropped_seq = 0
        self.kept_bytes_max = kept_bytes_max
        self._word, self._after_seq = word, after_seq
        self._seqs: list[int] = []
        self._frames: list[bytes] = []
        self._bytes = 0
        self.render = self._render  # one object for all clients: by it live bytes are known to be the same

    def _render(self, piece: Chunk) -> bytes:
        """What is told of a message, which continues what was folded or is some of it. Raises Unavailable where its
        frames are not kept any more: who is that late comes back."""
        self.fold(piece)
        if piece.first <= self.dropped_seq:
            raise Unavailable("What comes next is not kept for one that is so late.")
        told = self._frames[bisect_right(self._seqs, piece.first - 1) : bisect_right(self._seqs, piece.last)]
        return told[0] if len(told) == 1 else b"".join(told)

    def fold(self, piece: Chunk) -> None:
        """Takes in those entries of a message that are new."""
        if piece.last <= self.state.seq:
            return
        while self._bytes > self.kept_bytes_max:
            self._drop()
        for entry in decode(piece.body):
            if entry.seq > self.state.seq:
                self.state = fold(self.state, entry)
                frame = self._word(self.state, entry) if entry.seq > self._after_seq else b""
                if frame:
                    self._seqs.append(entry.seq)
                    self._frames.append(frame)
                    self._bytes += len(frame)

    def told(self, after_seq: int, limit: int) -> list[tuple[int, bytes]]:
        """The kept frames of the first `limit` entries after one that is told at all."""
        start = bisect_right(self._seqs, after_seq)
        return list(zip(self._seqs, self._frames, strict=True))[start : start + limit]

    def fills(self, limit: int) -> bool:
        """Whether its frames are those of so many entries, or as many bytes as are kept of a run."""
        return len(self._seqs) >= limit or self._bytes > _KEPT_BYTES_MAX

    def _drop(self) -> None:
        """Gives up the older half."""
        half = (len(self._frames) + 1) // 2
        self.dropped_seq = self._seqs[half - 1]
        self._bytes -= sum(map(len, self._frames[:half]))
        del self._seqs[:half], self._frames[:half]


class Translations:
    """The translations of a process, the least recently opened given up beyond a few."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine, self._streams = engine, streams
        self._held: OrderedDict[tuple[str, str, Word], Translation] = OrderedDict()

    async def stream(
        self,
        request: Request,
        by: Caller,
        run_id: str,
        word: Word,
        after_seq: int,
        *,
        leg_only: bool = False,
        live: bool = True,
        keep_alive: bytes = KEEP_ALIVE,
        opening: bytes = b"",
        more_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> ASGIApp:
        """The run from the entry after `after_seq` on: to its end, to that of its leg, or to what is recorded now.
        `opening` goes out first, `more_headers` beside those of every stream. Raises RunNotFound, Unavailable."""
        translation = await self._at(run_id, by, word, after_seq)
        follow = await self._engine.follow(run_id, by, min(after_seq, translation.state.seq))
        if request.method == "HEAD":
            follow.close()
            return head(more_headers)
        if follow.over(leg_only):
            opening += NO_HURRY
        return EventStream(
            self._streams, follow, translation.render, opening, leg_only, live=live, keep_alive=keep_alive,
            holds=holding(request, by), more_headers=more_headers,
        )  # fmt: skip

    async def told(self, by: Caller, run_id: str, word: Word, after_seq: int, limit: int) -> list[tuple[int, bytes]]:
        """The frames of what is recorded after an entry, by number, without a gap: of at most `limit` entries, and of
        fewer where those are some megabytes already; none only where there is none. Raises RunNotFound, Unavailable."""
        follow = await self._engine.follow(run_id, by, after_seq)
        try:
            translation = self._shared(by.tenant, run_id, word)
            if after_seq >= translation.dropped_seq:
                await _reach(translation, follow, follow.head)
            if after_seq < translation.dropped_seq:
                translation = Translation(word, after_seq, _NEVER_FULL)  # it ends with the page
                await _reach(translation, follow, follow.head, limit)
            return translation.told(after_seq, limit)
        finally:
            follow.close()

    async def _at(self, run_id: str, by: Caller, word: Word, after_seq: int) -> Translation:
        """One that has folded what is recorded up to an entry, and can tell what comes after that."""
        follow = await self._engine.follow(run_id, by, after_seq)  # before anything is kept: who asks may see the run
        try:
            translation = self._shared(by.tenant, run_id, word)
            if after_seq < translation.dropped_seq or after_seq > follow.head:
                translation = Translation(word, after_seq, _LEFT_BYTES_MAX)
            await _reach(translation, follow, after_seq)
        finally:
            follow.close()
        return translation

    def _shared(self, tenant: str, run_id: str, word: Word) -> Translation:
        key = tenant, run_id, word
        held = self._held.setdefault(key, Translation(word))
        self._held.move_to_end(key)
        while len(self._held) > _RUNS_MAX:
            _, given_up = self._held.popitem(last=False)
            given_up.kept_bytes_max = _LEFT_BYTES_MAX
        return held


async def _reach(translation: Translation, follow: Follow, seq: int, limit: int | None = None) -> None:
    """Folds what is recorded, to an entry or to the last one, or until there are frames of `limit` entries."""
    if translation.state.seq >= min(seq, follow.head):
        return
    follow.cursor = translation.state.seq
    async for batch in follow:
        for piece in batch:
            translation.fold(piece)
        enough = limit is not None and translation.fills(limit)
        if enough or translation.state.seq >= min(seq, follow.head):
            return
