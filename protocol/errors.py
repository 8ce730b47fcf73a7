"""Every way in which an ask can be refused, each with a code that clients may rely on.

    HocketError
    ├── Invalid            what was sent cannot be understood
    │   ├── InvalidId      an id that is empty, too long or not text
    │   └── IllegalEvent   an event that may not follow what the run has said so far
    ├── TooLarge           a body, an event or an append over its limit
    ├── NotFound           no such thing, or not for this principal: the two look alike
    │   ├── RunNotFound
    │   └── AgentNotFound
    ├── Conflict           legal by itself, but not now
    │   ├── ThreadBusy     the thread has a run in progress
    │   └── RunMismatch    the id or the idempotency key belongs to another request
    ├── Refused            the agent itself cannot be used as it was declared
    └── Unavailable        the log cannot be reached or cannot take more; nothing is half-written

Messages name the thing, what was expected and what was given, and are fit for clients.
Which HTTP status or protocol code each becomes is a table of the gateway.
"""


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


class TooLarge(HocketError):
    code = "too_large"


class NotFound(HocketError):
    code = "not_found"


class RunNotFound(NotFound):
    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {_shown(run_id)}.")


class AgentNotFound(NotFound):
    code = "agent_not_found"

    def __init__(self, agent: str, known: list[str]) -> None:
        offer = f"Known agents: {', '.join(known)}." if known else "No worker has announced an agent yet."
        super().__init__(f"There is no agent {_shown(agent)}. {offer}")


class Conflict(HocketError):
    code = "conflict"


class ThreadBusy(Conflict):
    """`run_id` is the run in progress."""

    code = "thread_busy"

    def __init__(self, thread_id: str, run_id: str) -> None:
        super().__init__(f"Thread {_shown(thread_id)} has a run in progress: {_shown(run_id)}.")
        self.run_id = run_id


class RunMismatch(Conflict):
    code = "run_mismatch"


class Refused(HocketError):
    code = "agent_refused"


class Unavailable(HocketError):
    code = "log_unavailable"


def _shown(name: str) -> str:
    """A client's own text, quoted and cut so that an error stays short."""
    return repr(name if len(name) <= 80 else name[:77] + "...")
