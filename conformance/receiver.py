"""A receiver of webhooks on loopback: it keeps what is posted to it and answers as it is told to."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 20.0
Came = tuple[bytes, dict[str, str]]
"""A body, and its headers by lower-case name."""


class Receiver:
    """It answers with the statuses of `answers`, then with 204."""

    def __init__(self) -> None:
        self.came: queue.Queue[Came] = queue.Queue()
        self.answers: list[int] = []
        came, answers = self.came, self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                came.put((body, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(answers.pop(0) if answers else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def next(self) -> Came:
        return self.came.get(timeout=SECONDS)

    def each(self) -> Iterator[Came]:
        """What comes within the time that a test may take."""
        end = time.monotonic() + SECONDS
        while True:
            yield self.came.get(timeout=max(end - time.monotonic(), 0.01))


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
        thread.join(SECONDS)
