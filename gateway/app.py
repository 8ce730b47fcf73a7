"""The composition root: where the log, the engine and the faces meet, and nothing else happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from runtime.engine import Engine
from runtime.index import Index
from runtime.keys import Keys
from runtime.log import Log
from runtime.settings import Settings

from .a2a.cards import Cards
from .a2a.routes import A2a
from .agui import AgUi
from .agui_stream import AgUiStreams
from .auth import Auth
from .copilotkit import CopilotKit
from .cors import Cors
from .dialect import Dialect, places
from .dialects import arkloop_refusals, middesk_refusals, operativus_refusals, veryfront_refusals
from .dialects.arkloop import Arkloop
from .dialects.cinatra import Cinatra
from .dialects.middesk import Middesk
from .dialects.operativus import Operativus
from .dialects.veryfront import Veryfront
from .documents import document_routes
from .errors import HANDLERS, refuse_worded
from .mcp.face import Mcp
from .page.routes import page_routes
from .resource import Resource, Resources
from .rest import Rest
from .rest_push import PUSH_OPERATIONS, RestPush
from .rest_table import OPERATIONS, PROBES
from .rest_triggers import RestTriggers
from .rest_webhooks import RestWebhooks
from .stream import Streams, Unwinding
from .translation import Translations
from .trigger_table import TRIGGER_OPERATIONS
from .webhook_table import WEBHOOK_OPERATIONS

_AUDIT_SECONDS = 15.0


@dataclass(frozen=True)
class Gateway:
    """A gateway that is ready to serve."""

    app: ASGIApp
    engine: Engine
    streams: Streams
    auth: Auth


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings, nats_url: str) -> AsyncIterator[Gateway]:
    """Connects to the log and puts the faces together; everything is closed on the way out.

    Raises Unavailable or Refused if the log cannot be used.
    """
    async with contextlib.AsyncExitStack() as closing:
        log = await Log.open(nats_url, "hocket-gateway", settings.append_timeout_s, settings.replicas)
        closing.push_async_callback(log.close)
        index = Index(log, settings.data / "index.sqlite" if settings.nats_url is None else None)
        await index.start()
        closing.push_async_callback(index.stop)
        keys = Keys(log)
        await keys.start()
        closing.push_async_callback(keys.stop)
        auth = Auth(keys, _origins(settings))
        engine = Engine(log, settings, index)
        streams = Streams(settings.keep_alive_s, settings.stall_s)
        for timer in (streams.run(), _audits(engine)):
            closing.callback(asyncio.create_task(timer).cancel)
        closing.callback(streams.drain)
        at = places(settings.dialects)
        cinatra = ["/api/mcp", f"{at['cinatra']}/api/mcp"] if "cinatra" in at else []
        veryfront = [f"{at['veryfront']}/mcp"] if "veryfront" in at else []
        mcp = Mcp(engine, streams, settings, cinatra, veryfront)
        await closing.enter_async_context(mcp.run())
        yield Gateway(build_app(engine, streams, settings, auth, at, mcp.routes()), engine, streams, auth)


def build_app(
    engine: Engine, streams: Streams, settings: Settings, auth: Auth, at: Mapping[str, str], more: Sequence[BaseRoute]
) -> ASGIApp:
    """Every face under its paths, `more` among them; `at` is where each dialect stands."""
    runs = AgUiStreams(engine, streams)
    agui = AgUi(runs, settings.body_bytes_max)
    copilotkit = CopilotKit(engine, runs, settings.body_bytes_max)
    rest = Rest(engine, streams, settings.body_bytes_max)
    cards = Cards(settings, version("hocket"), auth)
    a2a = A2a(engine, streams, cards, settings.a2a_agent, settings.body_bytes_max)
    translations = Translations(engine, streams)
    cinatra = Cinatra(engine, translations, settings.body_bytes_max, settings.agui_external_enabled, a2a.rpc)
    operativus = Operativus(engine, streams, translations, settings)
    veryfront = Veryfront(engine, translations, settings)
    middesk = Middesk(engine, translations, settings)
    arkloop = Arkloop(engine, translations, settings)
    served = {
        "cinatra": (cinatra.routes, refuse_worded),
        "operativus": (operativus.routes, operativus_refusals.refuse),
        "veryfront": (veryfront.routes, veryfront_refusals.refuse),
        "middesk": (middesk.routes, middesk_refusals.refuse),
        "arkloop": (arkloop.routes, arkloop_refusals.refuse),
    }
    dialects = [Dialect(prefix, served[name][0](prefix), served[name][1]) for name, prefix in at.items()]
    triggers = RestTriggers(engine, settings.body_bytes_max)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        ready = engine.ready and auth.ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    operations = [*OPERATIONS, *TRIGGER_OPERATIONS, *PUSH_OPERATIONS, *WEBHOOK_OPERATIONS, *PROBES]
    documents = document_routes(version("hocket"), operations)
    probes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    machines = [*agui.routes(), *copilotkit.routes(), *a2a.routes()]
    told = [*RestPush(engine).routes(), *RestWebhooks(engine, streams, settings.body_bytes_max).routes()]
    spoken = [route for dialect in dialects for route in dialect.routes]
    faces = [*machines, *spoken, *rest.routes(), *triggers.routes(), *told, *more]
    # the run page is hocket's own, and stands where Cinatra's clients look for it too
    beside = [at["cinatra"]] if "cinatra" in at else []
    pages = page_routes(["", *beside], settings.page_renderers, cinatra.get_run, cinatra.post_answer)
    routes = [*faces, *documents, *pages, *probes]
    resources = [route for route in routes if isinstance(route, Resource)]
    others = [route for route in routes if not isinstance(route, Resource)]
    inner = Starlette(routes=[Resources(resources), *others], exception_handlers=HANDLERS)
    inner.state.auth, inner.state.dialects = auth, dialects
    app: ASGIApp = Unwinding(inner)
    if origins := _origins(settings):
        app = Cors(app, origins)
    return app


def _origins(settings: Settings) -> list[str]:
    return [origin.strip() for origin in (settings.cors_origins or "").split(",") if origin.strip()]


async def _audits(engine: Engine) -> None:
    while True:
        await asyncio.sleep(_AUDIT_SECONDS)
        await engine.tails.audit()
