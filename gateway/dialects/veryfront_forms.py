"""What Veryfront's REST calls take. Fields that are not read are passed over: its clients send more than hocket knows,
and nothing that looks like an identity is ever read."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from protocol.errors import Invalid
from protocol.subjects import ID_BYTES_MAX

from ..rest_forms import Whole
from .veryfront_object import RUNTIME_TARGET, SOURCE_TARGET

MESSAGES_MAX = 1_000
PARTS_MAX = 100
EVENTS_MAX = 100
PUBLIC_ID_CHARS_MAX = 128
CALL_ID_CHARS_MAX = 128
RESULT_BYTES_MAX = 64 << 10
RESUME_BYTES_MAX = 128 << 10

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_MESSAGES = uuid.UUID("5a0f6d0c-6c1f-5b7e-8f3e-6f2c1b9a4d22")

ConversationId = Annotated[str, StringConstraints(pattern=_UUID)]
Id = Annotated[str, Field(min_length=1, max_length=ID_BYTES_MAX)]


class Form(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Part(Form):
    type: Literal["text"]
    text: str


class MessageForm(Form):
    """Without an id it has one that follows from the run's key."""

    id: Id | None = None
    role: Literal["user", "assistant", "system", "developer"]
    parts: Annotated[list[Part], Field(min_length=1, max_length=PARTS_MAX)]


class InputForm(Form):
    """`context` is an object, for the agent's forwardedProps, or a list of AG-UI's {description, value}."""

    messages: Annotated[list[MessageForm], Field(max_length=MESSAGES_MAX)] = []
    context: dict[str, JsonValue] | list["ContextForm"] | None = None


class ContextForm(Form):
    description: str
    value: str


class RequestForm(Form):
    mode: Literal["agent"]
    agent_id: Id
    initial_status: Literal["pending"]
    input: InputForm | None = None
    source_target_kind: Literal["project", "environment", "preview_branch"] | None = None
    source_target_environment_id: Id | None = None
    source_target_branch_id: Id | None = None
    runtime_target_kind: Literal["main_branch", "environment", "preview_branch"] | None = None
    runtime_target_environment_id: Id | None = None
    runtime_target_branch_id: Id | None = None


class OwnerForm(Form):
    kind: Literal["conversation"]
    id: ConversationId


class StartForm(Form):
    """A run of an agent, owned by a conversation."""

    kind: Literal["agent"]
    owner: OwnerForm
    request: RequestForm
    public_id: Annotated[str, Field(min_length=1, max_length=PUBLIC_ID_CHARS_MAX)] | None = None
    parent_run_id: Id | None = None


class ResumeForm(Form):
    """The result of the call that a run waits for. How long the call's id may be depends on whether the run has asked
    by it."""

    type: Literal["tool_result"]
    tool_call_id: Annotated[str, Field(min_length=1)]
    result: JsonValue
    is_error: bool = False


class EventsQuery(BaseModel):
    """Which events. The cursor is read as that of a stream is."""

    model_config = ConfigDict(extra="ignore")

    limit: Annotated[Whole, Field(ge=1, le=EVENTS_MAX)] = 50


def wire_input(request: RequestForm, seed: str) -> dict[str, Any]:
    """AG-UI's input. Raises Invalid where two messages have one id."""
    given = request.input or InputForm()
    messages = [
        {
            "id": one.id or str(uuid.uuid5(_MESSAGES, f"{seed}\n{number}")),
            "role": one.role,
            "content": "".join(part.text for part in one.parts),
        }
        for number, one in enumerate(given.messages)
    ]
    if len({message["id"] for message in messages}) < len(messages):
        raise Invalid("request.input.messages: two messages have the same id.")
    context = given.context
    return {
        "messages": messages,
        "state": None,
        "tools": [],
        "context": [one.model_dump() for one in context] if isinstance(context, list) else [],
        "forwardedProps": context if isinstance(context, dict) else {},
    }


def targets(request: RequestForm) -> dict[str, str]:
    """The targets that the run is to be shown with."""
    named = {name: getattr(request, name) for name in (*SOURCE_TARGET, *RUNTIME_TARGET)}
    return {name: value for name, value in named.items() if value is not None}
