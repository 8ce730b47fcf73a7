"""What Arkloop's clients send. What a later client sends besides is passed over."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from runtime.thread_door import TITLE_CHARS_MAX

from ..cursor import SEQ_MAX
from ..rest_forms import Id, Instant, Seq, Whole

INPUT_BYTES_MAX = 32_768
LIST_MAX = 200

_NAME_CHARS_MAX = 1_024


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _short(text: str) -> str:
    size = len(text.encode())
    if size > INPUT_BYTES_MAX:
        raise ValueError(f"must have at most {INPUT_BYTES_MAX} bytes of UTF-8; it has {size}")
    return text


Said = Annotated[str, AfterValidator(_said)]
Name = Annotated[str, Field(max_length=_NAME_CHARS_MAX)]
Limit = Annotated[Whole, Field(ge=1, le=LIST_MAX)]


class Form(BaseModel):
    """A body or a query."""

    model_config = ConfigDict(extra="ignore")


class ThreadForm(Form):
    """A thread to be opened. `is_private` is a label: who may read runs sees every thread."""

    title: Annotated[str, Field(max_length=TITLE_CHARS_MAX)] | None = None
    is_private: StrictBool | None = None


class MessageForm(Form):
    """A message for the thread's next run."""

    content: Said


class RunForm(Form):
    """How to run. `persona_id` is `key@version`, or the key alone; all others are handed to the agent as they are."""

    persona_id: Name | None = None
    route_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")] | None = None
    model: Name | None = None
    reasoning_mode: Name | None = None
    work_dir: Name | None = None
    output_route_id: Name | None = None
    output_model_key: Name | None = None


class InputForm(Form):
    """An answer. `request_id` names the question that it is for."""

    content: Annotated[Said, AfterValidator(_short)]
    request_id: str | None = None


class CancelForm(Form):
    """How far the client had read, and when it asked."""

    last_seen_seq: Annotated[StrictInt, Field(ge=0, le=SEQ_MAX)] | None = None
    client_cancelled_at: Instant | None = None


class LimitQuery(Form):
    """How many at most."""

    limit: Limit = 50


class RunsQuery(LimitQuery):
    """Which runs of the tenant. `before` is the run after which to go on; `offset` asks for the later form."""

    before: Id | None = None
    status: Literal["running", "waiting_for_input", "completed", "failed", "cancelled"] | None = None
    thread_id: Id | None = None
    persona_id: Name | None = None
    parent_run_id: Id | None = None
    since: Instant | None = None
    until: Instant | None = None
    offset: Annotated[Whole, Field(ge=0, le=SEQ_MAX)] | None = None


class EventsQuery(Form):
    """Where to begin, and whether to wait for what is still to come."""

    after_seq: Seq = 0
    follow: Literal["true", "1", "false", "0"] = "true"
