"""The operations of `/v1`, as one table: the routes are made of it and so is the OpenAPI document."""

from .idempotency import KEY
from .openapi import EVENT_STREAM, JSON, Answer, Header, Operation
from .rest_forms import (
    WAIT_SECONDS_MAX,
    AgentList,
    Audit,
    CancelForm,
    EventPage,
    EventsQuery,
    Health,
    NoQuery,
    PageToken,
    ResumeForm,
    RunForm,
    RunObject,
    RunPage,
    RunQuery,
    RunsQuery,
    ServerSentEvent,
    ThreadMessages,
)

_ETAG = Header("ETag", "The run's `seq`, quoted.")
_RUN = {JSON: RunObject}
_ALWAYS = (401, 403, 500, 503)

OPERATIONS = (
    Operation(
        "create_run",
        "POST",
        "/v1/runs",
        "Start a run",
        {
            201: Answer(
                "The run was started.",
                _RUN,
                (
                    Header("Location", "The run."),
                    _ETAG,
                    Header("Preference-Applied", "With Prefer: wait=N: how long was waited for at most."),
                ),
            ),
            200: Answer("The same request had started this run before.", _RUN, (Header("Location", "The run."), _ETAG)),
        },
        (400, 404, 409, 413, 415, 422, *_ALWAYS),
        NoQuery,
        (
            Header(
                "Idempotency-Key",
                "1 to 128 visible ASCII characters. The same key with the same body is the same run; with another "
                "body it is a conflict. Where the body has a run_id, that id finds the run and the key only compares.",
                KEY,
            ),
            Header(
                "Prefer",
                "wait=N holds the answer until the run has ended or waits for someone, for N seconds at most "
                f"(no more than {WAIT_SECONDS_MAX}). Anything else is passed over.",
            ),
        ),
        RunForm,
    ),
    Operation(
        "list_runs",
        "GET",
        "/v1/runs",
        "List runs, newest first",
        {200: Answer("A page of runs, each as of its last change of status.", {JSON: RunPage})},
        (422, *_ALWAYS),
        RunsQuery,
    ),
    Operation(
        "get_run",
        "GET",
        "/v1/runs/{run_id}",
        "Poll a run",
        {
            200: Answer("The run.", _RUN, (_ETAG,)),
            304: Answer("The run stands where If-None-Match says.", headers=(_ETAG,)),
        },
        (404, 422, *_ALWAYS),
        RunQuery,
        (Header("If-None-Match", "ETags of a run that the client holds."),),
    ),
    Operation(
        "get_events",
        "GET",
        "/v1/runs/{run_id}/events",
        "Stream or page through a run's events",
        {
            200: Answer(
                "Server-sent events with the entry's number as id until the run has ended, asks under the event name "
                "`ask`; or, if JSON is accepted before that, a page of what is recorded.",
                {EVENT_STREAM: ServerSentEvent, JSON: EventPage},
            )
        },
        (404, 422, *_ALWAYS),
        EventsQuery,
        (Header("Last-Event-ID", "The last entry the client has.", {"type": "string", "pattern": "^[0-9]{1,15}$"}),),
    ),
    Operation(
        "resume_run",
        "POST",
        "/v1/runs/{run_id}/resume",
        "Answer what a run waits for",
        {
            200: Answer(
                "The answers are recorded, by this call or by the same one before, and the run goes on.", _RUN, (_ETAG,)
            )
        },
        (400, 404, 409, 410, 413, 415, 422, *_ALWAYS),
        NoQuery,
        (
            Header(
                "Idempotency-Key",
                "1 to 128 visible ASCII characters. The same answers from the same caller under the same key are the "
                "same success; anything else that comes second is told `already_resolved`.",
                KEY,
            ),
        ),
        ResumeForm,
    ),
    Operation(
        "get_audit",
        "GET",
        "/v1/runs/{run_id}/audit",
        "Who asked and who decided",
        {200: Answer("The record, oldest first.", {JSON: Audit})},
        (404, 422, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "cancel_run",
        "POST",
        "/v1/runs/{run_id}/cancel",
        "Cancel a run",
        {200: Answer("The run; one that had ended is left as it was.", _RUN, (_ETAG,))},
        (400, 404, 413, 415, 422, *_ALWAYS),
        NoQuery,
        body=CancelForm,
        body_required=False,
    ),
    Operation(
        "create_run_token",
        "POST",
        "/v1/runs/{run_id}/token",
        "Make a token for the run's page",
        {201: Answer("A token for this run alone, with what the caller may do there.", {JSON: PageToken})},
        (404, 422, *_ALWAYS),
        NoQuery,
        description="It reads the run, and answers and cancels it where the caller may, for 15 minutes; with itself as "
        "credential it fetches the next one, until eight hours after the first. It ends with the key behind it.",
    ),
    Operation(
        "get_thread_messages",
        "GET",
        "/v1/threads/{thread_id}/messages",
        "Read a thread's messages",
        {200: Answer("The messages of all its runs, in order.", {JSON: ThreadMessages})},
        (404, 422, *_ALWAYS),
        NoQuery,
    ),
    Operation(
        "list_agents",
        "GET",
        "/v1/agents",
        "List the agents",
        {200: Answer("The agents that workers have announced.", {JSON: AgentList})},
        (422, *_ALWAYS),
        NoQuery,
    ),
)

PROBES = (
    Operation("healthz", "GET", "/healthz", "Is the process alive", {200: Answer("It is.", {JSON: Health})}),
    Operation(
        "readyz",
        "GET",
        "/readyz",
        "Can the gateway serve",
        {200: Answer("It can.", {JSON: Health}), 503: Answer("The log is away.", {JSON: Health})},
    ),
)
