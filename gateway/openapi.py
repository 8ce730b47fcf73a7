"""An OpenAPI 3.1 document from a table of operations and the pydantic models they take and give."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from protocol.subjects import ID_BYTES_MAX

from .rest_forms import Problem

Schema = dict[str, Any]
Model = type[BaseModel]
_Side = tuple[Model, Literal["validation", "serialization"]]

JSON = "application/json"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, made by `hocket keys create`; or, for one run, the token that its page was given. "
        "Where no key was ever made, none is asked for.",
    }
}
_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Header:
    """A header of a request or of an answer."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})


_PROBLEM_HEADERS = {
    401: (Header("WWW-Authenticate", "Bearer."),),
    503: (Header("Retry-After", "Seconds after which to try again."),),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes with one status: a body by media type, and headers. A stream's body is each of its events."""

    description: str
    bodies: Mapping[str, Model] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `problems` are the statuses that are answered with a Problem."""

    name: str
    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    problems: tuple[int, ...] = ()
    query: Model | None = None
    headers: tuple[Header, ...] = ()
    body: Model | None = None
    body_required: bool = True
    description: str = ""


def document(title: str, version: str, description: str, operations: Iterable[Operation]) -> Schema:
    """The document. Every status that an operation may answer with is in it."""
    table = list(operations)
    taken = {operation.body for operation in table} | {operation.query for operation in table}
    given = {model for operation in table for answer in operation.answers.values() for model in answer.bodies.values()}
    inputs: list[_Side] = [(model, "validation") for model in _named(taken)]
    outputs: list[_Side] = [(model, "serialization") for model in _named({*given, Problem})]
    _, made = models_json_schema([*inputs, *outputs], ref_template=_REFERENCE)
    schemas = {name: _tidied(schema) for name, schema in made.get("$defs", {}).items()}
    paths: dict[str, Schema] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    for query in _named({operation.query for operation in table}):
        schemas.pop(query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


def _named(models: Iterable[Model | None]) -> list[Model]:
    return sorted((model for model in models if model is not None), key=lambda model: model.__name__)


def _operation(operation: Operation, schemas: dict[str, Schema]) -> Schema:
    told: Schema = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        told["description"] = operation.description
    parameters = [*_path_parameters(operation.path), *_query_parameters(operation.query, schemas)]
    parameters += [
        {"name": header.name, "in": "header", "description": header.description, "schema": header.schema}
        for header in operation.headers
    ]
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {"required": operation.body_required, "content": _content({JSON: operation.body})}
    answers = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    for status in operation.problems:
        answers[str(status)] = _answer(
            Answer(HTTPStatus(status).phrase, {PROBLEM: Problem}, _PROBLEM_HEADERS.get(status, ()))
        )
    if 401 in operation.problems:
        told["security"] = [{"key": []}]
    told["responses"] = dict(sorted(answers.items()))
    return told


def _answer(answer: Answer) -> Schema:
    told: Schema = {"description": answer.description}
    if answer.bodies:
        told["content"] = _content(answer.bodies)
    if answer.headers:
        told["headers"] = {
            header.name: {"description": header.description, "schema": header.schema} for header in answer.headers
        }
    return told


def _content(bodies: Mapping[str, Model]) -> Schema:
    return {media: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}} for media, model in bodies.items()}


def _path_parameters(path: str) -> list[Schema]:
    schema = {"type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": _ID}
        for name in re.findall(r"{(\w+)}", path)
    ]


_ID = f"Any text of 1 to {ID_BYTES_MAX} bytes, percent-encoded; an encoded slash stays inside the id."


def _query_parameters(query: Model | None, schemas: dict[str, Schema]) -> list[Schema]:
    if query is None:
        return []
    told = []
    for name, schema in schemas[query.__name__].get("properties", {}).items():
        schema = {key: value for key, value in schema.items() if not (key == "default" and value in (None, []))}
        description = schema.pop("description", "")
        chosen = [option for option in schema.pop("anyOf", ()) if option != {"type": "null"}]
        parameter = {"name": name, "in": "query", "description": description, "schema": {**schema, **_only(chosen)}}
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": name != "include"}
        told.append(parameter)
    return told


def _only(options: list[Schema]) -> Schema:
    """The one thing that an optional parameter is when it is given."""
    return options[0] if options else {}


def _tidied(schema: Any) -> Any:
    """Without the titles that pydantic derives from names; a tag with one possible value must be there."""
    if isinstance(schema, list):
        return [_tidied(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key: _tidied(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    properties = told.get("properties")
    if isinstance(properties, dict):
        tags = [name for name, held in properties.items() if "const" in held and held.get("default") == held["const"]]
        for name in tags:
            del properties[name]["default"]
        if tags:
            told["required"] = list(dict.fromkeys([*tags, *told.get("required", ())]))
    return told
