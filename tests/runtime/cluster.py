"""Three nats-servers of one cluster as processes, for what a single one does not do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from protocol.errors import HocketError
from runtime.log import Log
from runtime.nats_server import die_with_parent, find_binary

START_SECONDS = 30.0
NODES = 3


@contextlib.asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[list[str]]:
    """The URL of each node, once the cluster holds a log in three copies."""
    ports = _free_ports(2 * NODES)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[NODES:])
    nodes = []
    try:
        for number in range(NODES):
            config = folder / f"node{number}.conf"
            config.write_text(
                f'server_name: node{number}\nlisten: "127.0.0.1:{ports[number]}"\n'
                f'jetstream {{ store_dir: "{folder}/node{number}" }}\n'
                f'cluster {{ name: c, listen: "127.0.0.1:{ports[NODES + number]}", routes: [{routes}] }}\n'
            )
            told = asyncio.subprocess.DEVNULL
            started = asyncio.create_subprocess_exec(
                find_binary(), "-c", config, stdout=told, stderr=told, preexec_fn=die_with_parent
            )
            nodes.append(await started)
        urls = [f"nats://127.0.0.1:{port}" for port in ports[:NODES]]
        await _ready(urls[0])
        yield urls
    finally:
        for node in nodes:
            node.kill()
            await node.wait()


async def _ready(url: str) -> None:
    """Leaders are elected one after the other; until then the log cannot be made."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            with contextlib.suppress(HocketError):
                log = await Log.open(url, "test-cluster", replicas=NODES)
                await log.close()
                return
            await asyncio.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
