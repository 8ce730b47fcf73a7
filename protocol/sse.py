"""Frames: how an entry lies in the log and travels to an SSE client, byte for byte the same.

    id: <seq>\\ndata: <json>\\n\\n                 an AG-UI event
    id: <seq>\\nevent: <name>\\ndata: <json>\\n\\n  an entry that is not one: an ask, or a type AG-UI does not define

LF only, because AG-UI clients split on a blank line of two LFs (reference: WHATWG HTML, server-sent events).
The JSON holds no raw line feed, so a body of frames can be counted and cut without being parsed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from .errors import Invalid

KEEP_ALIVE = b": keep-alive\n\n"


def frame(seq: int, data: bytes, name: str | None = None) -> bytes:
    """One frame of the log. `data` is JSON on one line."""
    if name is None:
        return b"id: %d\ndata: %b\n\n" % (seq, data)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, name.encode(), data)


def loose_frame(event: dict[str, Any], seq: int | None = None) -> bytes:
    """A frame that a face makes itself; without `seq` it moves no client's cursor."""
    data = orjson.dumps(event)
    return b"data: %b\n\n" % data if seq is None else frame(seq, data)


def first_seq(body: bytes) -> int:
    """The sequence number of the first frame of a stored body."""
    return int(body[4 : body.index(b"\n")])


def frame_count(body: bytes) -> int:
    return body.count(b"\n\n")


def after(body: bytes, seq: int) -> bytes:
    """The frames of a stored body that come after `seq`."""
    if first_seq(body) > seq:
        return body
    at = body.find(b"\n\nid: %d\n" % (seq + 1))
    return b"" if at < 0 else body[at + 2 :]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame. `name` is the SSE event name, None for the default one; `seq` is its id as a number, None if
    it bore none or one of another form; `id` is that as it came."""

    seq: int | None
    name: str | None
    data: bytes
    id: bytes = field(default=b"", compare=False)


def split(body: bytes) -> Iterator[Frame]:
    """The frames of a stored body, in order."""
    for raw in body.split(b"\n\n"):
        if raw:
            yield _decode(raw)


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _decode(raw: bytes) -> Frame:
    seq: int | None = None
    name: str | None = None
    data: list[bytes] = []
    bare = b""
    for line in raw.removeprefix(_BYTE_ORDER_MARK).split(b"\n"):
        label, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if label == b"data":
            data.append(value)
        elif label == b"id":
            bare = value
            seq = int(value) if value.isdigit() and len(value) < 20 else None
        elif label == b"event":
            name = value.decode(errors="replace")
    return Frame(seq, name, b"\n".join(data), bare)


class Decoder:
    """Frames out of a byte stream that may be cut anywhere; comments and frames without data are left out.

    Raises Invalid if one frame grows past `frame_bytes_max`.
    """

    def __init__(self, frame_bytes_max: int = 16 << 20) -> None:
        self._rest = b""
        self._frame_bytes_max = frame_bytes_max

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes, in order."""
        text = self._rest + chunk
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # its line feed may be the next byte
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = text.split(b"\n\n")
        self._rest = rest + held
        if len(self._rest) > self._frame_bytes_max:
            raise Invalid(f"A server-sent event is longer than {self._frame_bytes_max} bytes.")
        return [found for raw in whole if (found := _decode(raw)).data]
