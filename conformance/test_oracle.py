"""Whether the suite can see what it is there to see: each fault is served on purpose and must be noticed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conformance import scenario as s
from conformance.driver import AGUI, Driver

clients = pytest.mark.parametrize("client", AGUI)

SOUND = (
    'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n'
    'data: {"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}\n\n'
    'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hello"}\n\n'
    'data: {"type":"TEXT_MESSAGE_END","messageId":"m"}\n\n'
    'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r"}\n\n'
)


@contextmanager
def _serving(stream: str) -> Iterator[str]:
    """A gateway that says `stream` to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = stream.encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _noticed(agui: Driver, client: str, stream: str) -> bool:
    """Whether the checks that every test makes fail on that stream."""
    with _serving(stream) as base:
        result = agui.play(s.agent("any", "t"), s.run("r", text=None), client=client, base=base)
    a = result["clients"]["a"]
    try:
        s.check_run(a["runs"][0])
        s.check_same(a, {"messages": [{"id": "m", "role": "assistant", "content": "Hello"}], "state": {}})
        assert result["warnings"] == []
    except AssertionError:
        return True
    return False


@clients
@pytest.mark.requirement("suite.sees-faults")
def test_a_sound_stream_passes_the_checks(agui: Driver, client: str) -> None:
    assert not _noticed(agui, client, SOUND)


FAULTS: dict[str, Callable[[str], str]] = {
    "CRLF instead of LF": lambda sound: sound.replace("\n", "\r\n"),
    "no terminal event": lambda sound: sound[: sound.index('data: {"type":"RUN_FINISHED"')],
    "cut within a frame": lambda sound: sound[:-20],
    "nothing at all": lambda sound: "",
    "a tail without the START it needs": lambda sound: sound.replace(
        'data: {"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}\n\n', ""
    ),
    "text that is told twice": lambda sound: sound.replace('"Hello"', '"HelloHello"'),
    "a message left open": lambda sound: sound.replace('data: {"type":"TEXT_MESSAGE_END","messageId":"m"}\n\n', ""),
    "RUN_STARTED twice": lambda sound: 'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n' + sound,
    "a null timestamp": lambda sound: sound.replace('"delta":', '"timestamp":null,"delta":'),
    "a type nobody knows": lambda sound: sound.replace(
        'data: {"type":"RUN_FINISHED"', 'data: {"type":"NEWS"}\n\ndata: {"type":"RUN_FINISHED"'
    ),
    "an end after the end": lambda sound: sound + 'data: {"type":"RUN_ERROR","message":"late"}\n\n',
}


@clients
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.requirement("suite.sees-faults")
def test_a_fault_in_the_stream_is_noticed(agui: Driver, client: str, fault: str) -> None:
    assert _noticed(agui, client, FAULTS[fault](SOUND))


@pytest.mark.requirement("suite.sees-faults")
def test_the_outcome_cancelled_is_noticed_to_be_fatal_before_1(agui: Driver) -> None:
    cancelled = SOUND.replace('"runId":"r"}\n\n', '"runId":"r","outcome":{"type":"cancelled"}}\n\n')
    cancelled = cancelled.replace(',"outcome":{"type":"cancelled"}', "", 1)
    assert _noticed(agui, "agui-0", cancelled) and not _noticed(agui, "agui-1", cancelled)


@pytest.mark.requirement("suite.sees-faults")
def test_an_unknown_property_is_noticed_as_a_warning_of_1(agui: Driver) -> None:
    assert _noticed(agui, "agui-1", SOUND.replace('"delta":', '"seq":3,"delta":'))


@clients
@pytest.mark.requirement("suite.sees-faults")
def test_a_replay_without_a_prelude_doubles_the_text_of_who_holds_it(agui: Driver, name: str, client: str) -> None:
    result = agui.play(
        s.agent("held", name, query=""), s.run(name, forwardedProps={"gate": name}, background=True), s.at_the_gate(),
        s.op("leave"), s.release(name),
        s.agent("held", name, "b", query="?after_seq=0",
                messages=[{"id": f"{name}-t", "role": "assistant", "content": "Hel"}]),
        s.run(name, "b", text=None), client=client,
    )  # fmt: skip
    assert s.text_of(result["clients"]["b"], f"{name}-t") == "HelHello"
