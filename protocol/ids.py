"""Ids of runs and threads in the forms that other systems demand of them.

Ids that hocket makes are UUIDs; a client of AG-UI or A2A may choose any text.
"""

import re
from hashlib import md5, sha1

from .state import RunState

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_NAMESPACE = bytes.fromhex("9b0f6c7a5a645e578a5e1f0a3c1f7d21")


def is_uuid(id_: str) -> bool:
    return _UUID.fullmatch(id_) is not None


def as_uuid(tenant: str, id_: str) -> str:
    """The id itself where it is a UUID, else the UUID (RFC 9562, version 5) that follows from tenant and id."""
    if is_uuid(id_):
        return id_
    made = bytearray(sha1(_NAMESPACE + f"{tenant}\n{id_}".encode(), usedforsecurity=False).digest()[:16])
    made[6], made[8] = made[6] & 0x0F | 0x50, made[8] & 0x3F | 0x80
    text = made.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def trace_id(state: RunState) -> str:
    """32 hexadecimal digits that follow from the run alone, for clients that are promised a trace (W3C's form)."""
    return trace_of(state.tenant, state.id)


def trace_of(tenant: str, run_id: str) -> str:
    """The same, from what it follows from."""
    if is_uuid(run_id):
        return run_id.replace("-", "").lower()
    return md5(f"{tenant}\n{run_id}".encode(), usedforsecurity=False).hexdigest()
