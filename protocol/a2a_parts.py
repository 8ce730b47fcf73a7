"""A2A's message parts and AG-UI's message content, either way, and what a peer's message answers.

text <-> text, raw <-> a data source, url <-> a url source; `data` is JSON text that is marked as such.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from . import depth, schema
from .answers import Answer
from .errors import Invalid, InvalidAnswer
from .state import Gate

Wire = dict[str, Any]

PARTS_MAX = 1_000
"""Most parts that one message may have."""
_KINDS = ("text", "raw", "url", "data")
_MEDIA = ("image", "audio", "video")
_FALLBACK = "application/octet-stream"
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def are_parts(given: Any) -> bool:
    """Whether an agent has given parts that a peer can read: each of exactly one kind."""
    return isinstance(given, list) and bool(given) and all(_is_part(part) for part in given)


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict) or sum(kind in part for kind in _KINDS) != 1:
        return False
    texts = [part[name] for name in ("text", "raw", "url", "filename", "mediaType") if name in part]
    if not all(isinstance(text, str) for text in texts) or not isinstance(part.get("metadata", {}), dict):
        return False
    return "raw" not in part or _is_base64(part["raw"])


def _is_base64(text: str) -> bool:
    return len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


def noted(message: Wire) -> Wire:
    """What of a peer's message has no place in AG-UI and was kept with it."""
    metadata = message.get("metadata")
    found = metadata.get("a2a") if isinstance(metadata, dict) else None
    told = found if isinstance(found, dict) else {}  # any client may have written it
    return {name: told[name] for name, is_one in _NOTED.items() if name in told and is_one(told[name])}


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_NOTED: dict[str, Callable[[Any], bool]] = {"extensions": _are_texts, "referenceTaskIds": _are_texts}
_NOTED |= dict.fromkeys(("messageId", "filename", "mediaType"), _is(str)) | {"metadata": _is(dict), "data": _is(bool)}


def user_message(message: Wire, own_id: str) -> Wire:
    """A peer's message as AG-UI's user message. Its messageId is not unique, so it gets an id of hocket's own.

    Raises Invalid where it has too many parts, or one that holds nothing.
    """
    parts = message["parts"]
    for number, part in enumerate(parts):
        if not any(kind in part for kind in _KINDS):
            raise Invalid(f"message.parts[{number}]: one of {', '.join(_KINDS)} is expected.")
    if len(parts) > PARTS_MAX:
        raise Invalid(f"message.parts: at most {PARTS_MAX} parts, not {len(parts)}.")
    kept = ("messageId", "metadata", "extensions", "referenceTaskIds")
    note = {name: message[name] for name in kept if message.get(name)}
    return {"id": own_id, "role": "user", "content": to_content(parts), "metadata": {"a2a": note}}


def to_content(parts: Sequence[Wire]) -> Any:
    """A single plain text is text; anything else is a list."""
    if len(parts) == 1 and set(parts[0]) == {"text"}:
        return parts[0]["text"]
    return [_to_content(part) for part in parts]


def _to_content(part: Wire) -> Wire:
    note = {name: part[name] for name in ("filename", "metadata") if part.get(name)}
    media = part.get("mediaType")
    if "text" in part or "data" in part:
        text = part["text"] if "text" in part else orjson.dumps(part["data"]).decode()
        note |= ({"mediaType": media} if media else {}) | ({"data": True} if "data" in part else {})
        return {"type": "text", "text": text} | _with(note)
    kind = (media or "").partition("/")[0]
    if "raw" in part:
        source = {"type": "data", "value": part["raw"], "mimeType": media or _FALLBACK}
    else:
        source = {"type": "url", "value": part["url"]} | ({"mimeType": media} if media else {})
    return {"type": kind if kind in _MEDIA else "document", "source": source} | _with(note)


def _with(note: Wire) -> Wire:
    return {"metadata": {"a2a": note}} if note else {}


def from_content(content: Any) -> list[Wire]:
    """The parts of a message that came through any face; what A2A has no form for is told as data."""
    if not isinstance(content, list):
        return [{"text": content if isinstance(content, str) else ""}]
    return [_from_content(item) for item in content] or [{"text": ""}]


def _from_content(item: Any) -> Wire:
    if not isinstance(item, dict):
        return {"data": item}
    note = noted(item)
    more = {name: note[name] for name in ("filename", "metadata", "mediaType") if name in note}
    if item.get("type") == "text" and isinstance(item.get("text"), str):
        return (_data(item["text"]) if note.get("data") else {"text": item["text"]}) | more
    source = item.get("source")
    if isinstance(source, dict) and source.get("type") in ("data", "url") and isinstance(source.get("value"), str):
        name = "raw" if source["type"] == "data" else "url"
        if name == "raw" and not _is_base64(source["value"]):
            return {"data": item}
        media = source.get("mimeType")
        return {name: source["value"]} | ({"mediaType": media} if isinstance(media, str) else {}) | more
    return {"data": item}


def _data(text: str) -> Wire:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"text": text}
    return {"text": text} if depth.is_deeper(read, depth.SAID) else {"data": read}


def answers(gates: Sequence[Gate], parts: Sequence[Wire]) -> list[Answer]:
    """What a message to a task answers that waits at these gates.

    A data part `{"answers": [{"interruptId", "status"?, "payload"?}]}` says it outright. Otherwise the message is the
    answer to the one open interrupt: its data, or its text, which a schema that wants no text may take as JSON.
    Raises Invalid, InvalidAnswer.
    """
    data = [part["data"] for part in parts if "data" in part]
    told = [one for one in data if isinstance(one, dict) and "answers" in one]
    if told:
        return [answer for one in told for answer in _outright(one["answers"])]
    text = "\n".join(part["text"] for part in parts if part.get("text"))
    if len(gates) != 1:
        names = ", ".join(repr(gate.interrupt_id) for gate in gates)
        form = '{"answers": [{"interruptId": ..., "payload": ...}]}'
        raise Invalid(f"The task asks several questions at once: answer them with a data part {form}; open: {names}.")
    gate = gates[0]
    if len(data) > 1:
        raise Invalid("message.parts: one data part at most is the answer to one question.")
    if data:
        return [Answer(gate.id, payload=data[0], text=text or None)]
    if not text:
        raise Invalid("message.parts: an answer needs a text part or a data part.")
    return [Answer(gate.id, payload=_payload(gate, text), text=text)]


def _outright(given: Any) -> list[Answer]:
    if not isinstance(given, list) or not given:
        raise Invalid("answers: a list with an entry for each open interrupt is expected.")
    found = []
    for one in given:
        name = one.get("interruptId") if isinstance(one, dict) else None
        status: Any = one.get("status", "resolved") if isinstance(one, dict) else None
        if not isinstance(name, str) or status not in ("resolved", "cancelled"):
            raise Invalid('answers: each is {"interruptId": text, "status": "resolved" | "cancelled", "payload": any}.')
        found.append(Answer(name, status, one.get("payload")))
    return found


def _payload(gate: Gate, text: str) -> Any:
    """The text itself where the schema takes it, else what it says as JSON. Raises InvalidAnswer."""
    wanted = gate.interrupt.get("responseSchema")
    if not isinstance(wanted, dict):
        return text
    faults = list(schema.faults(wanted, text))
    if not faults:
        return text
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        path, message = faults[0]
        raise InvalidAnswer([{"interrupt_id": gate.interrupt_id, "path": path, "message": message}]) from None
    return read
