"""A question's JSON Schema as what can be asked in a terminal line by line, and the lines as an answer's payload.

Nothing here reads or writes: a `Form` says what to ask, a `Field` what a typed line means. What cannot be asked line
by line is one line of JSON, and the last word on every answer is the gateway's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from protocol import schema

Kind = Literal["yes_no", "choice", "text", "integer", "number", "list", "json"]
Schema = dict[str, Any]

CANCEL, SKIP = "!cancel", "!skip"
"""Typed instead of an answer: abandon the question; leave this part of the answer out, whatever its preset."""

_REFERENCES_MAX = 8
_SCALARS: dict[Any, Kind] = {"boolean": "yes_no", "string": "text", "integer": "integer", "number": "number"}
_YES, _NO = ("y", "yes", "true"), ("n", "no", "false")
_EXPECTED: dict[Kind, str] = {
    "yes_no": "y or n",
    "choice": "one of the numbers",
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "list": "values by comma",
    "json": "JSON",
}


class Unfit(Exception):
    """What was typed cannot be the answer; the message says why."""


class _Nothing:
    """No value at all, where None would be JSON's null."""


NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to ask. `name` is the property that it fills, None where it is the whole answer; `preset` is what an
    empty line stands for, NOTHING if for nothing; `choices` are labels with their values; `items` is what a list is
    of; `check` is the schema that a value is held against before it is sent."""

    name: str | None
    label: str
    kind: Kind
    required: bool = True
    nullable: bool = False
    preset: Any = NOTHING
    choices: tuple[tuple[str, Any], ...] = ()
    items: "Field | None" = None
    description: str = ""
    check: Schema | None = None

    @property
    def expected(self) -> str:
        """What may be typed, in words."""
        if self.kind == "list" and self.items is not None and self.items.kind not in ("text", "choice"):
            return f"{_EXPECTED['list']}, each {_EXPECTED[self.items.kind]}"
        return _EXPECTED[self.kind]

    @property
    def described(self) -> str:
        """What may be answered, for whoever is not asked line by line."""
        told = f"one of {', '.join(label for label, _ in self.choices)}" if self.choices else self.expected
        return f"{self.name or self.label}: {told}" + ("" if self.required else ", optional")

    @property
    def prompt(self) -> str:
        """What stands before the line that is typed."""
        if self.kind == "yes_no":
            hints = ["y/n"]
        elif self.options:
            hints = [f"1-{len(self.options)}" + (" by comma" if self.kind == "list" else "")]
        else:
            hints = [self.expected] if self.kind != "text" else []
        if not self.required:
            hints.append("optional")
        if self.preset is not NOTHING:
            hints.append(f"empty for {_label(self.preset)}" + ("" if self.required else f", {SKIP} for none"))
        asked = f"{self.label} [{'; '.join(hints)}]" if hints else self.label
        return f"{asked} " if self.label.endswith("?") else f"{asked}: "

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The numbered choices, of the field itself or of a list's values."""
        return self.choices or (self.items.choices if self.items is not None else ())

    def read(self, line: str) -> Any:
        """The value of a typed line; NOTHING to leave the field out. Raises Unfit."""
        text = line.strip()
        if not text:
            return self._unsaid()
        if text == SKIP and not self.required:
            return NOTHING
        value = self._parsed(text)
        for fault in _faults(self.check, value):
            raise Unfit(f"{fault.path.removeprefix('/')}: {fault.message}" if fault.path else fault.message)
        return value

    def example(self) -> Any:
        """A value to show what an answer looks like."""
        if self.preset is not NOTHING:
            return self.preset
        if self.options:
            value = self.options[0][1]
            return [value] if self.kind == "list" else value
        shown: dict[Kind, Any] = {"yes_no": True, "integer": 1, "number": 1.5, "list": [], "json": {}}
        return shown.get(self.kind, "…")

    def _unsaid(self) -> Any:
        if self.preset is not NOTHING:
            return self.preset
        if not self.required:
            return NOTHING
        if self.nullable:
            return None
        raise Unfit(f"It needs an answer: {self.expected}.")

    def _parsed(self, text: str) -> Any:
        if self.kind == "text":
            return text
        if self.kind == "yes_no":
            return _yes_no(text)
        if self.kind == "choice":
            return _chosen(self.choices, text)
        if self.kind == "list":
            return self._listed(text)
        return _json(text, self.kind)

    def _listed(self, text: str) -> Any:
        """Values by comma; a value that holds a comma is written as JSON, like the whole list."""
        if text.startswith("["):
            return _json(text, "json")
        assert self.items is not None
        return [self.items._parsed(part.strip()) for part in text.split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class Form:
    """What to ask, in order."""

    fields: tuple[Field, ...]

    @property
    def approval(self) -> bool:
        """Whether a bare yes or no is an answer."""
        first, *rest = self.fields
        return _is_approval(first) and not any(field.required and field.preset is NOTHING for field in rest)

    def payload(self, values: Mapping[str | None, Any]) -> Any:
        """The answer made of what `read` gave for each field's name."""
        if None in values:
            return values[None]
        return {name: value for name, value in values.items() if value is not NOTHING}

    def example(self) -> Any:
        """What an answer looks like, with what has to be in it."""
        told = {field.name: field.example() for field in self.fields if field.required or _is_approval(field)}
        return self.payload(told)


def form_of(interrupt: Mapping[str, Any]) -> Form:
    """What to ask for an interrupt, in AG-UI's form. Without a schema it is approved or not, or, where input is
    required, any text."""
    root = interrupt.get("responseSchema")
    metadata = interrupt.get("metadata")
    values = metadata.get("values", NOTHING) if isinstance(metadata, dict) else NOTHING
    if not isinstance(root, dict):
        if interrupt.get("reason") == "input_required":
            return Form((Field(None, "Answer", "text"),))
        return Form((Field("approved", "Approve?", "yes_no"),))
    whole, _ = _plain(root, root)
    properties = whole.get("properties")
    if whole.get("type", "object") != "object" or not isinstance(properties, dict) or not properties:
        return Form((_field(root, None, "Answer", root, True, values),))
    given = values if isinstance(values, dict) else {}
    return Form(tuple(sorted(_properties(root, whole, given), key=lambda field: not _is_approval(field))))


def _properties(root: Schema, whole: Schema, values: Mapping[str, Any]) -> Iterator[Field]:
    required = whole.get("required")
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    for name in dict.fromkeys([*whole["properties"], *needed]):
        own = whole["properties"].get(name, {})
        yield _field(root, name, name, own, name in needed, values.get(name, NOTHING))


def _field(root: Schema, name: str | None, label: str, given: Any, required: bool, value: Any) -> Field:
    own, nullable = _plain(root, given)
    choices = _choices(root, own)
    items = _items(root, own) if not choices else None
    kind: Kind = "choice" if choices else "list" if items else _scalar(own)
    check, description = _alone(root, given), own.get("description")
    described = description if isinstance(description, str) else ""
    title = own["title"] if isinstance(own.get("title"), str) else ""
    if name == "approved" and kind == "yes_no":  # nothing is approved by an empty line
        return Field(name, title or "Approve?", kind, description=described, check=check)
    presets = (value, own.get("default", NOTHING), own.get("const", NOTHING) if required else NOTHING)
    fits = (one for one in presets if one is not NOTHING and one is not None and not any(_faults(check, one)))
    return Field(name, title or label, kind, required, nullable, next(fits, NOTHING), choices, items, described, check)


def _is_approval(field: Field) -> bool:
    return field.name == "approved" and field.kind == "yes_no"


# ── schemas ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(root: Schema, given: Any) -> tuple[Schema, bool]:
    """A schema behind its references and wrappings, and whether null will do as well."""
    own: Schema = given if isinstance(given, dict) else {}
    nullable = False
    for _ in range(_REFERENCES_MAX):
        kinds = own.get("type")
        if isinstance(kinds, list) and "null" in kinds and len(kinds) == 2:
            nullable = True
            own = own | {"type": next(kind for kind in kinds if kind != "null")}
            continue
        inner, null = _inner(root, own)
        if inner is None:
            return own, nullable
        nullable = nullable or null
        own = {key: value for key, value in own.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")} | inner
    return {}, nullable


def _inner(root: Schema, own: Schema) -> tuple[Schema | None, bool]:
    """What a schema merely refers to or wraps, if it does."""
    if isinstance(own.get("$ref"), str):
        return _referred(root, own["$ref"]), False
    for key in ("anyOf", "oneOf", "allOf"):
        parts = own.get(key)
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            continue
        real = [part for part in parts if part != {"type": "null"}]
        if 1 < len(real) < len(parts) and key != "allOf":
            return {key: real}, True
        if len(real) == 1 and (key != "allOf" or len(parts) == 1) and ("const" not in real[0] or len(parts) == 2):
            return real[0], len(parts) == 2
    return None, False


def _referred(root: Schema, reference: str) -> Schema:
    at: Any = root
    if not reference.startswith("#"):
        return {}
    for part in reference.removeprefix("#").split("/")[1:]:
        at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else {}


def _scalar(own: Schema) -> Kind:
    kind = own.get("type")
    return _SCALARS.get(kind, "json") if isinstance(kind, str) else "json"


def _choices(root: Schema, own: Schema) -> tuple[tuple[str, Any], ...]:
    """Labels and values where a schema lists what may be chosen, empty if it does not."""
    if isinstance(own.get("enum"), list):
        return tuple((_label(value), value) for value in own["enum"])
    if "const" in own:
        return ((_label(own["const"]), own["const"]),)
    for key in ("oneOf", "anyOf"):
        parts = own.get(key)
        if isinstance(parts, list) and parts:
            plain = [_plain(root, part)[0] for part in parts]
            if all("const" in part for part in plain):
                return tuple((str(part.get("title") or _label(part["const"])), part["const"]) for part in plain)
    return ()


def _items(root: Schema, own: Schema) -> Field | None:
    """What a list of scalars is of, None if it is no such list."""
    if own.get("type") != "array" or "prefixItems" in own or not isinstance(own.get("items"), dict):
        return None
    item, _ = _plain(root, own["items"])
    choices = _choices(root, item)
    kind: Kind = "choice" if choices else _scalar(item)
    if kind == "json":
        return None
    return Field(None, "", kind, choices=choices)


def _alone(root: Schema, given: Any) -> Schema | None:
    """A part of a schema that can stand alone, with the definitions that it may refer to; None if it cannot."""
    if not isinstance(given, dict):
        return None
    check = {key: part for key, part in root.items() if key in ("$defs", "definitions")} | given
    return check if schema.fault_of(check) is None else None


def _faults(check: Schema | None, value: Any) -> Iterator[schema.Fault]:
    if check is not None:
        yield from schema.faults(check, value)


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _yes_no(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise Unfit(f"Type {_EXPECTED['yes_no']}.")


def _chosen(choices: tuple[tuple[str, Any], ...], text: str) -> Any:
    """By number, or by the very label where that is not a number of the list."""
    if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= len(choices):
        return choices[int(text[:9]) - 1][1]
    for label, value in choices:
        if text == label:
            return value
    raise Unfit(f"Type a number from 1 to {len(choices)}.")


def _json(text: str, kind: Kind) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as bad:
        raise Unfit(f"This is no JSON: {bad}." if kind == "json" else f"Type {_EXPECTED[kind]}.") from None
    allowed: dict[Kind, tuple[type, ...]] = {"integer": (int,), "number": (int, float)}
    if kind in allowed and type(value) not in allowed[kind]:
        raise Unfit(f"Type {_EXPECTED[kind]}.")
    return value


def _label(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
