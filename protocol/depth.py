"""How deep JSON may be nested.

What is recorded stands within other JSON on each of its ways out, and the encoder writes 254 levels at most: a run that
is nested deeper could be told to nobody, and neither could a list that holds it.
"""

from typing import Any

import orjson

TAKEN = 100
"""Levels that a client may send."""
SAID = 90
"""Levels of what an agent says: a client sends it back within its next request."""
_ENCODER = 254


def is_deeper(value: Any, levels: int, written: bytes | None = None) -> bool:
    """Whether `value` is nested deeper than `levels`, or holds what is no JSON. `written`, its JSON, if there is some,
    mostly spares the look."""
    if written is not None and written.count(b"[") + written.count(b"{") <= levels:
        return False
    for _ in range(_ENCODER - levels):  # the encoder counts in C
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False
