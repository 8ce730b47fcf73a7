"""What a caller may do, and which runs there are for it."""

from protocol.entries import Caller, Principal
from protocol.errors import Forbidden, RunNotFound
from protocol.subjects import check_id, run_subject


def check_scope(by: Principal, scope: str, everywhere: bool = False) -> None:
    """Raises Forbidden. `everywhere` is for what one run's own token does not allow."""
    if not isinstance(by, Caller):
        return
    if not by.may(scope):
        raise Forbidden(scope)
    if everywhere and by.run is not None:
        raise Forbidden(f"{scope} for more than one run")


def own_run(run_id: str, by: Principal) -> str:
    """Where the run lives. Raises InvalidId, for an id too long for the log must not reach it, and RunNotFound for one
    that is not the caller's own."""
    if isinstance(by, Caller) and by.run is not None and by.run != run_id:
        raise RunNotFound(run_id)
    return run_subject(by.tenant, check_id(run_id, "The run id"))
