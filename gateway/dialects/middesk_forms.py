"""What Middesk's API takes. Names that it does not know are passed over: clients of a later version send more."""

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from ..rest_forms import Whole

PER_PAGE_MAX = 100

Name = Annotated[str, Field(min_length=1)]


class Form(BaseModel):
    """A body or a query."""

    model_config = ConfigDict(extra="ignore")


class RunForm(Form):
    """A start: `type` is the agent's name, all else what the run is about."""

    type: Name
    thread_id: Name | None = None
    business_id: Name | None = None
    context_type: Name | None = None
    context_id: Name | None = None
    input: Any = None

    @property
    def about_something(self) -> bool:
        context = self.context_type is not None and self.context_id is not None
        return context or bool({self.thread_id, self.business_id} - {None}) or "input" in self.model_fields_set

    def agent_input(self, message_id: str) -> dict[str, Any]:
        """AG-UI's input: the context and the input as parameters, and in words for an agent that takes text."""
        names = ("business_id", "context_type", "context_id")
        parameters = {name: value for name in names if (value := getattr(self, name)) is not None}
        if "input" in self.model_fields_set:
            parameters["input"] = self.input
        text = _words(self.input if self.input is not None else parameters)
        messages = [{"id": message_id, "role": "user", "content": text}] if text else []
        return {"messages": messages, "state": None, "tools": [], "context": [], "forwardedProps": parameters}


class ResumeForm(Form):
    """An answer. `interrupt_id` may be called `id`."""

    interrupt_id: Name | None = None
    id: Name | None = None
    input: Any

    @model_validator(mode="after")
    def check_one_interrupt(self) -> "ResumeForm":
        if self.interrupt_id is None and self.id is None:
            raise PydanticCustomError("missing", "interrupt_id is required")
        if None not in (self.interrupt_id, self.id) and self.interrupt_id != self.id:
            raise PydanticCustomError("both", "interrupt_id and id name different interrupts")
        return self

    @property
    def interrupt(self) -> str:
        return self.interrupt_id or self.id or ""


class ThreadForm(Form):
    """A new thread: there is nothing to be said of it."""


class PageQuery(Form):
    """A page of a list."""

    page: Annotated[Whole, Field(ge=1)] = 1
    per_page: Annotated[Whole, Field(ge=1, le=PER_PAGE_MAX)] = 25

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


def wants_steps(request: Request) -> bool:
    """Whether `include` names the steps."""
    return any(
        name.strip() == "steps" for given in request.query_params.getlist("include") for name in given.split(",")
    )


def words(value: Any) -> str:
    """A value for an agent that takes text."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _words(given: Any) -> str:
    """What is asked for, in words; empty where there is nothing but a thread."""
    named = [given.get(name) for name in ("message", "prompt")] if isinstance(given, dict) else []
    text = next((one for one in named if isinstance(one, str) and one), None)
    return text or (words(given) if given != {} else "")
