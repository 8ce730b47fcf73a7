"""A disk that is full, on a small file system of its own: what was acknowledged stays, and the error is clear."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.errors import Unavailable
from protocol.sse import frame
from runtime.log import Log
from runtime.nats_server import EmbeddedServer
from tests.runtime.stage import stored

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder]).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_what_was_acknowledged_before_the_disk_was_full_is_there_when_there_is_room_again(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (12 << 20))
    server = EmbeddedServer(small_disk / "nats")
    await server.start()
    log = await Log.open(server.url, "test", append_timeout_s=1.0)
    acknowledged: list[int] = []
    rev = 0
    with pytest.raises(Unavailable, match="took no write"):
        for seq in range(1, 200):
            rev = await log.append("run.default.r1", "flow", frame(seq, b"x" * 200_000), rev)
            acknowledged.append(rev)
    assert acknowledged
    await asyncio.to_thread(ballast.unlink)
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    await server.start(port)
    async with asyncio.timeout(5):
        while not log.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    held = [one.rev for one in await stored(log)]
    assert held[: len(acknowledged)] == acknowledged and len(held) <= len(acknowledged) + 1
    await log.append("run.default.r1", "flow", frame(len(held) + 1, b"more"), held[-1])
    await log.close()
    await server.stop()
