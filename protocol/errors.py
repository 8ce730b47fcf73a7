"""Every way in which an ask can be refused, each with a code that clients may rely on.

    HocketError
    ├── Unauthorized       no credential, or one that is not good
    ├── Forbidden          a good credential that does not allow this
    ├── Invalid            what was sent cannot be understood
    │   ├── InvalidId      an id that is empty, too long or not text
    │   ├── IllegalEvent   an event that may not follow what the run has said so far
    │   ├── UnknownInterrupt    an answer to what this run has never asked
    │   ├── InterruptsMissing   open interrupts that the answers leave out
    │   └── InvalidAnswer       an answer that its interrupt's schema does not allow
    ├── TooLarge           a body, an event or an append over its limit
    ├── NotFound           no such thing, or not for this principal: the two look alike
    │   ├── RunNotFound
    │   ├── ThreadNotFound
    │   ├── AgentNotFound
    │   └── TriggerNotFound
    ├── Conflict           legal by itself, but not now
    │   ├── ThreadBusy     the thread has a run in progress
    │   ├── TriggerExists  the id has a trigger already
    │   ├── RunMismatch    the id or the idempotency key belongs to another request
    │   ├── NotWaiting     the run has no open interrupt
    │   └── AlreadyResolved     somebody's answer came first
    ├── InterruptExpired   the time to answer is over
    ├── Refused            the agent itself cannot be used as it was declared
    └── Unavailable        the log cannot be reached or cannot take more; nothing is half-written

Messages name the thing, what was expected and what was given, and are fit for clients.
Which HTTP status or protocol code each becomes is a table of the gateway.
"""

from typing import Any


class HocketError(Exception):
    """The root: `code` is stable, the text may change."""

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(HocketError):
    code = "invalid_request"


class InvalidId(Invalid):
    code = "invalid_id"


class IllegalEvent(Invalid):
    """`rule` names the rule of `protocol/order.py` that was broken."""

    code = "ILLEGAL_EVENT"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{message} (rule: {rule})")
        self.rule = rule


class Unauthorized(HocketError):
    code = "unauthorized"


class Forbidden(HocketError):
    """`scope` is what the credential lacks."""

    code = "forbidden"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This credential does not allow it: the scope {scope} is missing.")
        self.scope = scope


class NotOwner(Forbidden):
    """What somebody else has made, and only that one or an admin may change."""

    code = "not_owner"

    def __init__(self, what: str, owner: str) -> None:
        HocketError.__init__(self, f"{what} is {owner[:80]!r}'s: only that principal or an `admin` may change it.")
        self.scope = "admin"


class UnknownInterrupt(Invalid):
    code = "unknown_interrupt"

    def __init__(self, interrupt_id: str, open_ids: list[str]) -> None:
        offer = f"Open interrupts: {', '.join(map(_shown, open_ids))}." if open_ids else "It has none open."
        super().__init__(f"This run has no interrupt {_shown(interrupt_id)}. {offer}")


class InterruptsMissing(Invalid):
    """`missing` are the ids of the open interrupts without an answer."""

    code = "interrupts_missing"

    def __init__(self, missing: list[str]) -> None:
        super().__init__(f"All open interrupts need an answer at once; missing: {', '.join(map(_shown, missing))}.")
        self.missing = missing


class InvalidAnswer(Invalid):
    """`faults` says of each what is wrong and where: interrupt_id, path (a JSON pointer into the payload), message."""

    code = "invalid_answer"

    def __init__(self, faults: list[dict[str, str]]) -> None:
        first = faults[0]
        where = f" at {first['path']}" if first["path"] else ""
        more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
        told = (
            f"The answer to {_shown(first['interrupt_id'])} does not fit its schema{where}: {first['message']}{more}."
        )
        super().__init__(told)
        self.faults = faults


class TooLarge(HocketError):
    code = "too_large"


class NotFound(HocketError):
    """`identifier` is what was asked for, where one thing was."""

    code = "not_found"
    identifier = ""


class RunNotFound(NotFound):
    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {_shown(run_id)}.")
        self.identifier = run_id


class ThreadNotFound(NotFound):
    code = "thread_not_found"

    def __init__(self, thread_id: str) -> None:
        super().__init__(f"There is no thread {_shown(thread_id)}.")
        self.identifier = thread_id


class AgentNotFound(NotFound):
    code = "agent_not_found"

    def __init__(self, agent: str, known: list[str]) -> None:
        offer = f"Known agents: {', '.join(known)}." if known else "No worker has announced an agent yet."
        super().__init__(f"There is no agent {_shown(agent)}. {offer}")
        self.identifier = agent


class TriggerNotFound(NotFound):
    code = "trigger_not_found"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(f"There is no trigger {_shown(trigger_id)}.")
        self.identifier = trigger_id


class Conflict(HocketError):
    code = "conflict"


class TriggerExists(Conflict):
    code = "trigger_exists"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(f"There is a trigger {_shown(trigger_id)} already: replace it, or choose another id.")


class ThreadBusy(Conflict):
    """`run_id` is the run in progress; `waiting` that it waits for an answer."""

    code = "thread_busy"

    def __init__(self, thread_id: str, run_id: str, waiting: bool = False) -> None:
        what = "that waits for an answer" if waiting else "in progress"
        super().__init__(f"Thread {_shown(thread_id)} has a run {what}: {_shown(run_id)}.")
        self.run_id, self.waiting = run_id, waiting


class RunMismatch(Conflict):
    code = "run_mismatch"


class NotWaiting(Conflict):
    """`status` is what the run is instead."""

    code = "not_waiting"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {_shown(run_id)} waits for no answer: it is {status}.")
        self.status = status


class AlreadyResolved(Conflict):
    """`resolved` says how (`status`, `decision`), by whom, through which face and when (`at_ms`)."""

    code = "already_resolved"

    def __init__(self, interrupt_id: str, resolved: dict[str, Any]) -> None:
        by = resolved["by"] or {"id": "nobody", "name": ""}
        told = f"{resolved['status']} by {by['name'] or by['id']} through {resolved['face']}"
        super().__init__(f"Interrupt {_shown(interrupt_id)} is already resolved: {told}.")
        self.resolved = resolved


class InterruptExpired(HocketError):
    code = "interrupt_expired"

    def __init__(self, interrupt_id: str, at: str) -> None:
        super().__init__(f"Interrupt {_shown(interrupt_id)} has expired at {at}.")


class Refused(HocketError):
    code = "agent_refused"


class Unavailable(HocketError):
    code = "log_unavailable"


def _shown(name: str) -> str:
    """A client's own text, quoted and cut so that an error stays short."""
    return repr(name if len(name) <= 80 else name[:77] + "...")
