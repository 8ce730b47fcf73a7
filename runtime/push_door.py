"""The door to webhooks, `engine.push`: set, read and remove them, see what they did not take, and send that again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from protocol.entries import Principal, decode
from protocol.errors import Conflict, Invalid, NotFound, RunNotFound, Unavailable

from . import dead_letters, push_configs, webhook
from .access import check_scope, own_run
from .addresses import AddressRefused
from .chunks import chunk
from .dead_letters import DeadLetter
from .log import Log
from .outbound import Outbound, Undelivered
from .push_configs import CONFIGS_MAX, PushConfig, Record, Standing
from .push_hooks import Hook, Post, RunHook, TenantHook
from .push_update import Update
from .settings import Settings

DEAD_MAX = 200
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What became of one dead letter: `status` is the receiver's, None where it did not answer."""

    delivered: bool
    status: int | None
    reason: str


class Push:
    """Every method may raise Forbidden, InvalidId and Unavailable; those of one run RunNotFound, also for another
    tenant's; the others are named."""

    def __init__(self, log: Log, settings: Settings, outbound: Outbound | None = None) -> None:
        self._log, self._loopback = log, settings.push_loopback_enabled
        self._outbound = outbound or Outbound(settings.push_timeout_s, self._loopback)
        self._under_way = 0

    async def set(self, run_id: str, config: PushConfig, by: Principal, new_run: bool = False) -> PushConfig:
        """Records a webhook, in the place of the one of the same id. It is told of everything that is recorded after
        this has returned; one that takes another's place, what that had not taken yet. `new_run` says that the run
        begins only after this. Raises Invalid."""
        check_scope(by, "runs:start")
        check_scope(by, "runs:read")
        run = own_run(run_id, by)
        push_configs.check(config, self._loopback)
        config = replace(config, created_at_ms=time.time_ns() // 1_000_000)
        place = await self._place(run, run_id, config, new_run)
        fresh = True

        def put(record: Record) -> Record:
            nonlocal fresh
            fresh = config.id not in record
            return _with(record, place)

        await push_configs.change(self._log, run, put)
        while fresh and await self._life_seq(run) != place.seq:  # recorded meanwhile, it may have gone by untold
            place = await self._place(run, run_id, config, new_run)
            await push_configs.change(self._log, run, partial(_moved, place=place))
        return config

    async def get(self, run_id: str, config_id: str, by: Principal) -> PushConfig:
        """Raises NotFound."""
        found = (await self._of(run_id, by)).get(config_id)
        if found is None:
            raise NotFound(f"Run {run_id[:80]!r} has no webhook {config_id[:80]!r}.")
        return found.config

    async def list(self, run_id: str, by: Principal) -> list[PushConfig]:
        """In the order of their making."""
        return [one.config for one in (await self._of(run_id, by)).values()]

    async def remove(self, run_id: str, config_id: str, by: Principal) -> None:
        """Ends a webhook, at once: a try that waits is not made. One that is not there is no error."""
        check_scope(by, "runs:start")
        await self._of(run_id, by)
        await push_configs.change(self._log, own_run(run_id, by), lambda record: _without(record, config_id))

    async def forget(self, run_id: str, by: Principal) -> None:
        """Drops all webhooks of a run, whether there is one or not: its start may have failed."""
        check_scope(by, "runs:start")
        await push_configs.change(self._log, own_run(run_id, by), lambda record: {} if record else None)

    async def dead(self, by: Principal, limit: int = 50, before: str | None = None) -> Sequence[DeadLetter]:
        """Updates that were given up, newest first; those given up before the letter of the id `before`, if it is
        named. Raises NotFound for what is no letter's id."""
        check_scope(by, "runs:read", everywhere=True)
        return await dead_letters.newest(self._log, by.tenant, max(1, min(limit, DEAD_MAX + 1)), before)

    async def redeliver(self, dead_id: str, by: Principal) -> Redelivery:
        """Sends a dead letter once more, now, to the webhook as it is now; it is dropped if that takes it. The run's
        other updates do not wait for it. Raises NotFound, and Conflict where the webhook is gone."""
        check_scope(by, "runs:start", everywhere=True)
        check_scope(by, "runs:read")
        letter = await dead_letters.find(self._log, by.tenant, dead_id)
        run = own_run(letter.run_id, by)
        hook = await self._hook(run, letter, by)
        one = hook.standing((await push_configs.load(self._log, hook.record))[0])
        if one is None:
            raise Conflict("The webhook of this dead letter was removed or disabled: there is nowhere to send it.")
        if self._under_way >= _AT_ONCE:
            raise Unavailable(f"{_AT_ONCE} dead letters are being sent already: try again.")
        self._under_way += 1
        try:
            update = await self._update(run, letter)
            post = await hook.post(self._log, letter.run_id, one, update)
            if post is None:
                raise Conflict("The webhook of this dead letter is not told of that any more.")
            return await self._once(hook, letter, update, post)
        finally:
            self._under_way -= 1

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _of(self, run_id: str, by: Principal) -> Record:
        check_scope(by, "runs:read")
        run = own_run(run_id, by)
        if await self._log.last(run, exact=True) is None:
            raise RunNotFound(run_id)
        return (await push_configs.load(self._log, run))[0]

    async def _place(self, run: str, run_id: str, config: PushConfig, new_run: bool) -> Standing:
        """Where a webhook that is set now begins: behind the last thing that became of the run."""
        last = await self._log.last(run, exact=True)
        if last is None:
            if not new_run:
                raise RunNotFound(run_id)
            rev = await self._log.last_rev()
            return Standing(config, 0, rev, rev)
        life = await self._log.last(run, exact=True, lane="life")
        return Standing(config, chunk(life).last, life.rev) if life is not None else Standing(config, 0, last.rev)

    async def _life_seq(self, run: str) -> int:
        life = await self._log.last(run, exact=True, lane="life")
        return chunk(life).last if life is not None else 0

    async def _hook(self, run: str, letter: DeadLetter, by: Principal) -> Hook:
        if not letter.of_tenant:
            return RunHook(run, letter.config_id)
        held = await webhook.load(self._log, by.tenant)
        return TenantHook(run, letter.config_id, lambda: held.get(letter.config_id))

    async def _once(self, hook: Hook, letter: DeadLetter, update: Update, post: Post) -> Redelivery:
        began = time.monotonic()
        try:
            answer = await self._outbound.post(post.url, post.headers, post.body)
            done = Redelivery(answer.good, answer.status, answer.reason)
        except (AddressRefused, Undelivered) as fault:
            done = Redelivery(False, None, fault.message)
        words = "" if done.delivered else f"{done.status or ''} {done.reason}".strip()
        await hook.note(self._log, update, post, letter.attempts + 1, done.status, words, began)
        if done.delivered:
            await dead_letters.drop(self._log, letter)
        return done

    async def _update(self, run: str, letter: DeadLetter) -> Update:
        async for batch in self._log.read(run, letter.rev - 1, letter.rev, lane="life"):
            for stored in batch:
                for entry in decode(stored.body):
                    if entry.seq == letter.seq:
                        return Update(entry, stored.rev)
        raise _unreadable()


def _with(record: Record, place: Standing) -> Record:
    """The place of the one before is kept: what it has not taken, the new one takes."""
    before = record.get(place.config.id)
    if before is None and len(record) >= CONFIGS_MAX:
        raise Invalid(f"A run has at most {CONFIGS_MAX} webhooks.")
    if before is not None:
        claimed = before.claimed_until_ms  # its sender may be under way still, and is waited for
        place = Standing(place.config, before.seq, before.rev, before.floor, claimed_until_ms=claimed)
    return {**record, place.config.id: place}


def _moved(record: Record, place: Standing) -> Record | None:
    """A webhook that was set just now, further on, unless it has come there by itself."""
    before = record.get(place.config.id)
    if before is None or before.config != place.config or before.seq >= place.seq:
        return None
    return {**record, place.config.id: replace(place, claimed_until_ms=before.claimed_until_ms)}


def _without(record: Record, config_id: str) -> Record | None:
    return {name: one for name, one in record.items() if name != config_id} if config_id in record else None


def _unreadable() -> Unavailable:
    return Unavailable("What this dead letter would tell cannot be read.")
