"""What Operativus' clients send, and what becomes of it: the bodies and queries of the dialect. A name that is not
known is passed over, null is the same as absent."""

import base64
import binascii
import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from protocol.entries import Principal
from protocol.ids import is_uuid
from protocol.subjects import ID_BYTES_MAX
from runtime.asks import Start

from ..body import parse, read_json
from ..errors import InvalidFields
from ..idempotency import message_id

MEDIA_MAX = 16
PAGE_MAX = 1_000_000
STATUS_RUNS_MAX = 100
ON_BEHALF_OF = "on_behalf_of"
"""The label under which a run keeps whom its client named as `userId`, in its metadata's `operativus`."""

_URL_CHARS_MAX = 8_192
_MIME = r"^[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}( *;[ -~]{0,200})?$"
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_KINDS = ("image", "audio", "video")


Sent = TypeVar("Sent", bound=BaseModel)


class Form(BaseModel):
    model_config = ConfigDict(extra="ignore")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("operativus", "must not be blank")
    return text


def _session(text: str) -> str:
    if not is_uuid(text):
        raise PydanticCustomError("operativus", "must be a UUID")
    return text.lower()


def _media(data: str) -> str:
    """An address is handed on as it is, and never asked for; anything else is the bytes themselves."""
    if data[:8].lower().startswith(("http://", "https://")):
        try:
            good = len(data) <= _URL_CHARS_MAX and data.isprintable() and bool(urlsplit(data).hostname)
        except ValueError:
            good = False
    else:
        try:
            good = bool(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            good = False
    if not good:
        raise PydanticCustomError("operativus", "must be base64 or an http or https URL")
    return data


def _whole(value: object) -> object:
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticCustomError("operativus", "must be a whole number")
    return value


Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, Field(strict=True, max_length=ID_BYTES_MAX)]
Whole = Annotated[int, BeforeValidator(_whole)]


class Media(Form):
    type: Annotated[str, Field(strict=True, pattern=_MIME)]
    data: Annotated[str, Field(strict=True), AfterValidator(_media)]


class Options(Form):
    model: Annotated[str, Field(strict=True, min_length=1, max_length=ID_BYTES_MAX)] | None = None
    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] | None = None
    maxTokens: Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)] | None = None


class RunForm(Form):
    """What to run, for all three ways of starting."""

    message: Annotated[Text, AfterValidator(_not_blank)]
    session_id: Annotated[Text, AfterValidator(_session)] | None = Field(
        None, validation_alias=AliasChoices("sessionId", "session_id")
    )
    user_id: Name | None = Field(None, validation_alias="userId")
    org_id: Text | None = Field(None, validation_alias="orgId")
    generate_followups: Annotated[bool, Field(strict=True)] | None = Field(
        None, validation_alias=AliasChoices("generateFollowups", "generate_followups")
    )
    media: list[Media] | None = Field(None, max_length=MEDIA_MAX)
    options: Options | None = None


class ContinueForm(Form):
    """The later source's words mean the same as the seed's."""

    action: Literal["APPROVE", "REJECT", "APPROVED", "REJECTED"]
    approval_id: Text | None = Field(None, validation_alias="approvalId")


class ResolveForm(Form):
    decision: Literal["APPROVED", "REJECTED"]


class DecideForm(Form):
    """Whether there is a `payload` is told by `model_fields_set`: null is one."""

    decision: Literal["approve", "reject"]
    payload: Any = None


class RunsQuery(Form):
    session_id: str | None = Field(None, validation_alias="sessionId")
    agent_id: str | None = Field(None, validation_alias="agentId")
    status: Literal["QUEUED", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"] | None = None
    page: Annotated[Whole, Field(ge=0, le=PAGE_MAX)] = 0
    size: Annotated[Whole, Field(ge=1, le=100)] = 20


class PendingQuery(Form):
    page: Annotated[Whole, Field(ge=0, le=PAGE_MAX)] = 0
    size: Annotated[Whole, Field(ge=1, le=200)] = 200


async def read_form(form: type[Sent], request: Request, bytes_max: int) -> Sent:
    """The body as a `form`. Raises HTTPException 415, TooLarge, MalformedJson, InvalidFields."""
    given = await read_json(request, bytes_max)
    if not isinstance(given, dict):
        raise InvalidFields("The body must be a JSON object.", [{"field": "body", "message": "must be a JSON object"}])
    return parse(form, given)


def asked_run_ids(given: list[str]) -> list[str]:
    """The runs that `runIds` names, each once. Raises InvalidFields."""
    named = list(dict.fromkeys(one.strip() for text in given for one in text.split(",") if one.strip()))
    if not given or len(named) > STATUS_RUNS_MAX:
        told = f"names up to {STATUS_RUNS_MAX} runs, by comma; it names {len(named)}"
        raise InvalidFields(f"runIds {told}.", [{"field": "runIds", "message": told}])
    return named


def start_of(agent: str, form: RunForm, thread_id: str | None, key: str | None, by: Principal) -> Start:
    """What the engine is asked for. The same request under the same key is the same start."""
    sent_id = message_id(key, by)
    messages = [{"id": sent_id, "role": "user", "content": _content(form)}]
    given = {"messages": messages, "state": None, "tools": [], "context": [], "forwardedProps": _forwarded(form)}
    labels = {"operativus": {ON_BEHALF_OF: form.user_id}} if form.user_id else {}
    return Start(agent, given, thread_id, key=key, posted=True, metadata=labels)


def _content(form: RunForm) -> str | list[dict[str, Any]]:
    """A text, or AG-UI's parts where there is more."""
    if not form.media:
        return form.message
    return [{"type": "text", "text": form.message}, *(_part(one) for one in form.media)]


def _part(media: Media) -> dict[str, Any]:
    kind = media.type.partition("/")[0].lower()
    is_url = media.data[:4].lower() == "http" and ":" in media.data  # base64 has no colon
    source = {"type": "url" if is_url else "data", "value": media.data, "mimeType": media.type}
    return {"type": kind if kind in _KINDS else "document", "source": source}


def _forwarded(form: RunForm) -> dict[str, Any]:
    told: dict[str, Any] = {"generateFollowups": bool(form.generate_followups)}
    if form.user_id:
        told["userId"] = form.user_id
    options = form.options.model_dump(exclude_none=True) if form.options is not None else {}
    return told | ({"options": options} if options else {})
