"""Reading a request's query into a form: lists may be repeated or comma-separated, everything else comes once."""

from typing import TypeVar, get_origin

from pydantic import BaseModel
from starlette.requests import Request

from protocol.errors import Invalid

from .body import parse

Form = TypeVar("Form", bound=BaseModel)


def read_query(form: type[Form], request: Request) -> Form:
    """The query as a `form`. Raises Invalid for a name it does not have, a value it refuses, or one given twice."""
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        field = form.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            held = given.setdefault(name, [])
            assert isinstance(held, list)
            held += [part for part in value.split(",") if part]
        elif name in given:
            raise Invalid(f"{name} is given more than once.")
        else:
            given[name] = value
    return parse(form, given)
