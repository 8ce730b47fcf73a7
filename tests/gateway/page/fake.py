"""A stand-in for the gateway until its resume and its tokens land; deleted then."""

import asyncio
import contextlib
import itertools
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import jsonschema_rs
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse

from gateway.page.routes import page_routes
from gateway.resource import Resource
from gateway.server import bind

ME = {"id": "development", "kind": "development", "name": "Development"}


def at(ms=None):
    return datetime.fromtimestamp((ms or time.time() * 1000) / 1000, UTC).isoformat().replace("+00:00", "Z")


class Run:
    def __init__(self, answers, ids):
        self.answers, self._ids = answers, ids

    def tool_call(self, name, args, result=None, id=None):
        call = id or f"c{next(self._ids)}"
        told = [
            {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": name},
            {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": json.dumps(args)},
            {"type": "TOOL_CALL_END", "toolCallId": call},
        ]
        if result is not None:
            told.append(
                {
                    "type": "TOOL_CALL_RESULT",
                    "messageId": f"m{next(self._ids)}",
                    "toolCallId": call,
                    "content": json.dumps(result),
                }
            )
        return told

    def state(self, snapshot):
        return {"type": "STATE_SNAPSHOT", "snapshot": snapshot}

    def state_delta(self, *ops):
        return {"type": "STATE_DELTA", "delta": list(ops)}

    def question(
        self,
        message=None,
        *,
        name=None,
        response_schema=None,
        reason=None,
        expires_in_s=None,
        renderer=None,
        values=None,
        metadata=None,
        tool_call_id=None,
    ):
        reason = reason or ("tool_call" if tool_call_id else "input_required" if response_schema else "confirmation")
        noted = dict(metadata or {})
        if renderer:
            noted["renderer"] = renderer
        if values is not None:
            noted["values"] = values
        noted["hocket"] = {"name": name}
        told = {
            "id": f"{name}-{next(self._ids)}",
            "reason": reason,
            "message": message,
            "toolCallId": tool_call_id,
            "responseSchema": response_schema,
            "metadata": noted,
        }
        if expires_in_s:
            told["expiresAt"] = at(time.time() * 1000 + expires_in_s * 1000)
        return {k: v for k, v in told.items() if v is not None}

    def interrupts(self, *questions):
        return {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": list(questions)}}

    def interrupt(self, message=None, **more):
        return self.interrupts(self.question(message, **more))


class Record:
    def __init__(self, run_id, agent):
        self.id, self.agent = run_id, agent
        self.log, self.changed = [], asyncio.Condition()
        self.status, self.open, self.answers, self.resolved = "queued", [], {}, {}
        self.ids, self.audit = itertools.count(1), []

    async def put(self, event):
        async with self.changed:
            event = {"timestamp": int(time.time() * 1000), **event}
            self.log.append(event)
            kind = event["type"]
            if kind == "RUN_STARTED":
                self.status = "running"
            elif kind == "RUN_FINISHED":
                outcome = event.get("outcome", {}).get("type")
                self.status = {"interrupt": "waiting", "cancelled": "cancelled"}.get(outcome, "completed")
                self.open = event["outcome"]["interrupts"] if outcome == "interrupt" else []
            elif kind == "RUN_ERROR":
                self.status = "failed"
            self.changed.notify_all()

    @property
    def over(self):
        return self.status in ("completed", "failed", "cancelled")


class FakeHouse:
    def __init__(self, agents, keys):
        self.agents, self.keys, self.runs, self.tokens, self.tasks = agents, keys, {}, {}, []
        self.renderers = None
        self.generation = 0

    def who(self, request):
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer in self.tokens:
            return self.tokens[bearer]
        if bearer in self.keys:
            return self.keys[bearer]
        return None if self.keys or bearer else ME

    async def leg(self, record):
        await record.put({"type": "RUN_STARTED", "threadId": "t", "runId": record.id})
        said = None

        async def close():
            nonlocal said
            if said:
                await record.put({"type": "TEXT_MESSAGE_END", "messageId": said})
                said = None

        try:
            async for piece in self.agents[record.agent](Run(record.answers, record.ids)):
                if isinstance(piece, str):
                    if not said:
                        said = f"m{next(record.ids)}"
                        await record.put({"type": "TEXT_MESSAGE_START", "messageId": said, "role": "assistant"})
                    await record.put({"type": "TEXT_MESSAGE_CONTENT", "messageId": said, "delta": piece})
                    continue
                await close()
                for event in piece if isinstance(piece, list) else [piece]:
                    await record.put(
                        {**event, **({"threadId": "t", "runId": record.id} if event["type"] == "RUN_FINISHED" else {})}
                    )
                    if event["type"] == "RUN_FINISHED":
                        return
            await close()
            await record.put({"type": "RUN_FINISHED", "threadId": "t", "runId": record.id})
        except ZeroDivisionError as fault:
            await record.put({"type": "RUN_ERROR", "message": str(fault), "code": "AGENT_ERROR"})

    async def start(self, agent, run_id="r1", text="hi"):
        record = self.runs[run_id] = Record(run_id, agent)
        record.text = text
        await record.put(
            {"type": "ask.start", "by": ME, "face": "rest", "agent": agent, "runId": run_id, "threadId": "t"}
        )
        self.tasks.append(asyncio.create_task(self.leg(record)))
        return record

    async def cut(self):
        self.generation += 1
        for record in self.runs.values():
            async with record.changed:
                record.changed.notify_all()

    async def token(self, request):
        me = self.who(request)
        if me is None:
            return JSONResponse({"code": "unauthorized"}, 401)
        if request.path_params["run_id"] not in self.runs:
            return JSONResponse({"code": "run_not_found"}, 404)
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = me
        return JSONResponse({"token": token, "expires_at": at(time.time() * 1000 + 900_000), "page": ""}, 201)

    def found(self, request):
        if self.who(request) is None:
            return None, JSONResponse({"code": "unauthorized"}, 401)
        record = self.runs.get(request.path_params["run_id"])
        return record, None if record else JSONResponse({"code": "run_not_found"}, 404)

    def body(self, record):
        return {
            "id": record.id,
            "agent": record.agent,
            "status": record.status,
            "created_at": at(record.log[0]["timestamp"]),
            "ended_at": at(record.log[-1]["timestamp"]) if record.over else None,
            "seq": len(record.log),
            "result": None,
            "interrupts": record.open,
            "messages": [{"id": "u", "role": "user", "content": record.text}],
        }

    async def show(self, request):
        record, refusal = self.found(request)
        return refusal or JSONResponse(self.body(record))

    async def audit(self, request):
        record, refusal = self.found(request)
        return refusal or JSONResponse({"run_id": record.id, "audit": record.audit})

    async def events(self, request):
        record, refusal = self.found(request)
        if refusal:
            return refusal
        after = int(request.headers.get("last-event-id", 0))

        async def stream(n=after, mine=self.generation):
            yield ":\n\n"
            while True:
                while n < len(record.log):
                    event = record.log[n]
                    n += 1
                    name = "event: ask\n" if event["type"].startswith("ask.") else ""
                    yield f"id: {n}\n{name}data: {json.dumps(event)}\n\n"
                if record.over:
                    return
                async with record.changed:
                    await record.changed.wait_for(lambda: len(record.log) > n or self.generation > mine)
                if self.generation > mine:
                    return

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def resume(self, request):
        record, refusal = self.found(request)
        if refusal:
            return refusal
        answers = (await request.json())["answers"]
        record.posts = getattr(record, "posts", 0) + 1
        for answer in answers:
            if answer["interrupt_id"] in record.resolved:
                return JSONResponse(
                    {"code": "already_resolved", "resolved": record.resolved[answer["interrupt_id"]]}, 409
                )
        if record.status != "waiting":
            return JSONResponse({"code": "not_waiting"}, 409)
        by_id = {one["id"]: one for one in record.open}
        faults = []
        for answer in answers:
            schema = by_id[answer["interrupt_id"]].get("responseSchema")
            if schema and answer["status"] == "resolved":
                for fault in jsonschema_rs.Draft202012Validator(schema).iter_errors(answer.get("payload")):
                    faults.append(
                        {
                            "interrupt_id": answer["interrupt_id"],
                            "path": "".join(f"/{p}" for p in fault.instance_path),
                            "message": fault.message,
                        }
                    )
        if faults:
            return JSONResponse({"code": "invalid_answer", "detail": "The answer does not fit.", "faults": faults}, 422)
        if set(by_id) - {one["interrupt_id"] for one in answers}:
            return JSONResponse({"code": "interrupts_missing", "missing": []}, 422)
        record.status = "queued"
        me = self.who(request)
        told = []
        for answer in answers:
            one = by_id[answer["interrupt_id"]]
            payload = answer.get("payload")
            decision = (
                None
                if answer["status"] == "cancelled"
                else {True: "approve", False: "reject"}.get(
                    (payload or {}).get("approved") if isinstance(payload, dict) else None, "answer"
                )
            )
            told.append(
                {
                    "interruptId": one["id"],
                    "gate": one["metadata"]["hocket"]["name"],
                    "status": answer["status"],
                    "decision": decision,
                }
            )
            record.answers[one["metadata"]["hocket"]["name"]] = SimpleNamespace(
                payload=payload, status=answer["status"], approved=decision == "approve"
            )
            record.resolved[one["id"]] = {"by": me, "face": "rest", "at": at(), "status": answer["status"]}
        await record.put({"type": "ask.resume", "by": me, "face": "rest", "answers": told})
        self.tasks.append(asyncio.create_task(self.leg(record)))
        return JSONResponse(self.body(record))

    async def cancel(self, request):
        record, refusal = self.found(request)
        if refusal:
            return refusal
        await record.put({"type": "ask.cancel", "by": self.who(request), "face": "rest"})
        await record.put(
            {"type": "RUN_FINISHED", "threadId": "t", "runId": record.id, "outcome": {"type": "cancelled"}}
        )
        return JSONResponse(self.body(record))


@contextlib.asynccontextmanager
async def open_fake(keys=None, renderers=None, **agents):
    house = FakeHouse(agents, keys or {})
    routes = [
        Resource("/v1/runs/{run_id}/token", {"POST": house.token}),
        Resource("/v1/runs/{run_id}", {"GET": house.show}),
        Resource("/v1/runs/{run_id}/audit", {"GET": house.audit}),
        Resource("/v1/runs/{run_id}/events", {"GET": house.events}),
        Resource("/v1/runs/{run_id}/resume", {"POST": house.resume}),
        Resource("/v1/runs/{run_id}/cancel", {"POST": house.cancel}),
        *page_routes(renderers),
    ]
    listening = bind("127.0.0.1", 0)
    house.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    )
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server._serve([listening]))
    async with httpx.AsyncClient(base_url=house.url) as house.client:
        try:
            yield house
        finally:
            for task in house.tasks:
                task.cancel()
            server.should_exit = server.force_exit = True
            await serving
