"""A dialect: another system's run API, spoken under a prefix of its own; and where each of them stands."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from protocol.errors import Invalid

from .resource import Resource

NAMES = ("cinatra", "operativus", "veryfront", "middesk", "arkloop")

Refuse = Callable[[int, str, str, Exception], Response]
"""A refusal in a dialect's own envelope, from its status, hocket's code and sentence, and the error itself. Headers
that go with the status (Allow, Retry-After, WWW-Authenticate) are added to it."""

_PATH = re.compile(r"(/[a-z0-9][a-z0-9_.-]*)+")
_TAKEN = {"a2a", "agents", "agui", "api", "copilotkit", "docs", "healthz", "mcp", "openapi.json", "readyz", "v1"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a dialect serves under its prefix, and how it refuses there."""

    prefix: str
    routes: Sequence[Resource]
    refuse: Refuse

    def holds(self, path: str) -> bool:
        return f"{path}/".startswith(f"{self.prefix}/")


def places(setting: str) -> dict[str, str]:
    """The prefix of each dialect that is served, of `name` or `name=/prefix` by comma, or `none`. Raises Invalid."""
    found: dict[str, str] = {}
    for one in setting.split(",") if setting != "none" else ():
        name, _, path = one.strip().partition("=")
        path = path or f"/{name}"
        if name not in NAMES:
            raise Invalid(f"HOCKET_DIALECTS names {name!r}; there are {', '.join(NAMES)}.")
        if name in found:
            raise Invalid(f"HOCKET_DIALECTS names {name} twice.")
        if not _PATH.fullmatch(path) or path.split("/")[1] in _TAKEN:
            raise Invalid(
                f"HOCKET_DIALECTS puts {name} at {path!r}: a path like /{name} is needed that is not hocket's."
            )
        found[name] = path
    for name, path in found.items():
        other = next((one for one in found if one != name and f"{path}/".startswith(f"{found[one]}/")), None)
        if other is not None:
            raise Invalid(f"HOCKET_DIALECTS puts {name} at {path}, where {other} is.")
    return found
