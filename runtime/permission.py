"""What a caller's credential allows. One that is no `Caller` is hocket itself, which may do everything."""

from protocol.entries import Caller, Principal
from protocol.errors import Forbidden


def check_scope(by: Principal, scope: str, everywhere: bool = False) -> None:
    """Raises Forbidden. `everywhere` is for what one run's own token does not allow."""
    if not isinstance(by, Caller):
        return
    if not by.may(scope):
        raise Forbidden(scope)
    if everywhere and by.run is not None:
        raise Forbidden(f"{scope} for more than one run")
