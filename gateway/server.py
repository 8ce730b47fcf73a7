"""uvicorn, told what streams need: bounded kernel buffers, and a stop that ends open streams instead of waiting.

uvicorn waits for open responses on SIGTERM, and its lifespan shutdown comes only after they have closed; so the
streams are drained from the signal itself, with `timeout_graceful_shutdown` as the backstop.
"""

import errno
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from protocol.errors import Refused

if TYPE_CHECKING:
    from .app import Gateway

_BACKLOG = 2048
_NOT_SENT_BYTES = 16 << 10
_SEND_BUFFER_BYTES = 64 << 10
_DEAD_PEER_MS = 60_000
_GRACE_SECONDS = 2


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises Refused with what to do if it cannot be had.

    Accepted sockets inherit the bounds: without them the kernel takes up to 4 MB for a client that reads nothing,
    and a peer that has vanished holds its connection for a quarter of an hour.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_BYTES)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as bad:
        listening.close()
        if bad.errno == errno.EADDRINUSE:
            raise Refused(f"Port {port} on {host} is taken. Choose another with --port, or --port 0.") from None
        raise Refused(f"hocket cannot listen on {host}:{port}: {bad.strerror}.") from None
    return listening


class StreamProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the ASGI extension `hocket.write`, see `stream.write_of`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"hocket.write": {"write": self._write}}

    def _write(self, chunk: bytes) -> bool:
        if not self.transport.is_closing():
            self.transport.write(chunk)
        return not self.flow.write_paused


class Server(uvicorn.Server):
    """Serves one gateway until SIGTERM, SIGINT or `stop`; every open stream then gets its last comment."""

    def __init__(self, gateway: "Gateway", log_level: str = "warning") -> None:
        super().__init__(
            uvicorn.Config(
                gateway.app,
                loop="none",
                http=StreamProtocol,
                proxy_headers=False,
                ws="none",
                lifespan="off",
                log_level=log_level,
                access_log=False,
                timeout_keep_alive=65,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                server_header=False,
                backlog=_BACKLOG,
            )
        )
        self._streams = gateway.streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._streams.drain()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.handle_exit(signal.SIGTERM, None)
        self._captured_signals.clear()
