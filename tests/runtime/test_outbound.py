"""The client of webhooks against real sockets: what it follows, whom it connects to, and how long it waits."""

import asyncio
import ssl
import subprocess
import time
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

import pytest

from runtime.addresses import AddressRefused
from runtime.outbound import Answer, Outbound, Undelivered
from tests.runtime.receiver import Receiver, Reply, open_receiver

pytestmark = pytest.mark.anyio

HEADERS = {"Authorization": "Bearer secret", "X-A2A-Notification-Token": "token", "X-Hocket-Seq": "1"}


class Names:
    """A resolver that answers from a list, one entry a question; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def certificates(tmp_path: Path) -> Contexts:
    """A server's context for hooks.example.com, and a client's that trusts it."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.example.com",
         "-addext", "subjectAltName=DNS:hooks.example.com", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    return served, ssl.create_default_context(cafile=str(certificate))


def client(names: Names | None = None, loopback: bool = True, timeout_s: float = 5.0) -> Outbound:
    return Outbound(timeout_s, loopback, names) if names is not None else Outbound(timeout_s, loopback)


async def test_a_post_arrives_as_it_was_given_and_its_answer_comes_back() -> None:
    async with open_receiver() as receiver:
        answer = await client().post(f"{receiver.url}?a=b", HEADERS, b'{"a":1}')
    (came,) = receiver.seen
    assert answer == Answer(200, "OK") and answer.good
    assert (came.path, came.body) == ("/hook?a=b", b'{"a":1}')
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}" and came.headers["content-length"] == "7"
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= came.headers.items()


async def test_any_status_is_an_answer_and_the_receivers_own_words_are_not_taken() -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(503, {"retry-after": "7"})
        assert await client().post(receiver.url, HEADERS, b"{}") == Answer(503, "Service Unavailable", 7.0)
        receiver.reply = lambda _: Reply(429, {"retry-after": "100000"})
        assert (await client().post(receiver.url, HEADERS, b"{}")).retry_after_s == 300.0
        receiver.reply = lambda _: Reply(429, {"retry-after": formatdate(time.time() + 60, usegmt=True)})
        assert 50 < ((await client().post(receiver.url, HEADERS, b"{}")).retry_after_s or 0) <= 60
        receiver.reply = lambda _: Reply(429, {"retry-after": "soon"})
        assert (await client().post(receiver.url, HEADERS, b"{}")).retry_after_s is None


async def test_nobody_there_and_a_connection_that_is_closed_are_told_in_one_line() -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(0)
        with pytest.raises(Undelivered):
            await client().post(receiver.url, HEADERS, b"{}")
    with pytest.raises(Undelivered) as failed:
        await client().post(receiver.url, HEADERS, b"{}")
    assert "secret" not in failed.value.message and "\n" not in failed.value.message


async def test_a_receiver_that_does_not_answer_is_given_up_after_the_time_that_is_set() -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(hang=True)
        with pytest.raises(Undelivered, match=r"0\.2 s"):
            await client(timeout_s=0.2).post(receiver.url, HEADERS, b"{}")


async def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except OSError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asyncio.timeout(4.0):
        assert (await client().post(url, HEADERS, b"{}")).good
    server.close()


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_method_is_followed_with_its_body(status: int) -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda came: Reply(status, {"location": "/there"}) if came.path == "/hook" else Reply()
        assert (await client().post(receiver.url, HEADERS, b"body")).good
    assert [(came.path, came.body) for came in receiver.seen] == [("/hook", b"body"), ("/there", b"body")]
    assert receiver.seen[1].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_may_lose_the_body_is_an_answer_that_is_not_good(status: int) -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(status, {"location": "/there"})
        answer = await client().post(receiver.url, HEADERS, b"{}")
    assert answer.status == status and not answer.good and len(receiver.seen) == 1


async def test_the_fourth_redirect_is_not_followed() -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(307, {"location": "/on"})
        with pytest.raises(Undelivered, match="more than 3"):
            await client().post(receiver.url, HEADERS, b"{}")
    assert len(receiver.seen) == 4


async def test_credentials_are_not_sent_on_to_another_origin() -> None:
    async with open_receiver() as first, open_receiver() as second:
        first.reply = lambda _: Reply(307, {"location": second.url})
        assert (await client().post(first.url, HEADERS, b"{}")).good
    (came,) = second.seen
    assert not {"authorization", "x-a2a-notification-token"} & came.headers.keys()
    assert came.headers["x-hocket-seq"] == "1" and came.headers["host"] == f"127.0.0.1:{second.port}"


@pytest.mark.parametrize(
    "where", ["http://10.0.0.1/", "http://[::ffff:169.254.169.254]/latest/meta-data", "//10.1.1.1/"]
)
async def test_a_redirect_to_a_private_address_is_refused(where: str) -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(307, {"location": where})
        with pytest.raises(AddressRefused):
            await client().post(receiver.url, HEADERS, b"{}")


@pytest.mark.parametrize(
    "where", ["gopher://example.com/", "http://u:p@example.com/", "http://exa mple.com/", "http://"]
)
async def test_a_redirect_to_what_is_no_url_for_a_webhook_is_not_followed(where: str) -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(307, {"location": where})
        with pytest.raises(Undelivered):
            await client().post(receiver.url, HEADERS, b"{}")


async def test_a_redirect_to_a_public_name_that_resolves_to_a_private_address_is_refused() -> None:
    async with open_receiver() as receiver:
        receiver.reply = lambda _: Reply(308, {"location": "http://public.example.com/"})
        names = Names(["127.0.0.1"], ["192.168.0.1"])
        with pytest.raises(AddressRefused, match=r"public\.example\.com"):
            await client(names).post(f"http://first.example.com:{receiver.port}/", HEADERS, b"{}")
    assert names.asked == 2


@pytest.mark.parametrize(
    "answer",
    [["10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%2"], []],
)
async def test_a_name_with_any_address_that_is_not_public_is_refused_before_anything_is_connected(
    answer: list[str],
) -> None:
    with pytest.raises(AddressRefused):
        await client(Names(answer), loopback=False).post("http://example.com/", HEADERS, b"{}")


async def test_loopback_is_refused_unless_it_is_switched_on() -> None:
    async with open_receiver() as receiver:
        for url in (receiver.url, f"http://localhost:{receiver.port}/", f"http://2130706433:{receiver.port}/"):
            with pytest.raises(AddressRefused):
                await client(loopback=False).post(url, HEADERS, b"{}")
        with pytest.raises(AddressRefused):
            await client(Names(["127.0.0.1"]), loopback=False).post(
                f"http://example.com:{receiver.port}/", HEADERS, b"{}"
            )
    assert receiver.connections == 0


async def test_a_name_that_changes_its_address_between_two_questions_never_leads_to_the_second() -> None:
    """DNS rebinding: an answer that is judged and another that is connected to. The judged one is what is used."""
    async with open_receiver() as good, open_receiver(port=good.port, host="127.0.0.2") as private:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert (await client(names).post(f"http://example.com:{good.port}/", HEADERS, b"{}")).good
        assert names.asked == 1 and len(good.seen) == 1 and private.connections == 0
        assert good.seen[0].headers["host"] == f"example.com:{good.port}"
        rebound = Names(["127.0.0.1"], ["10.0.0.1"])
        outbound = client(rebound)
        assert (await outbound.post(f"http://example.com:{good.port}/", HEADERS, b"{}")).good
        with pytest.raises(AddressRefused):  # each post is judged anew: no connection is older than that
            await outbound.post(f"http://example.com:{good.port}/", HEADERS, b"{}")


async def test_another_address_of_the_answer_is_tried_where_the_first_does_not_listen() -> None:
    async with open_receiver() as receiver:
        names = Names(["127.0.0.9", "127.0.0.1"])
        assert (await client(names).post(f"http://example.com:{receiver.port}/", HEADERS, b"{}")).good


async def test_tls_is_verified_for_the_name_and_not_for_the_address(certificates: Contexts) -> None:
    served, trusting = certificates
    asked: list[str | None] = []
    served.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with open_receiver(tls=served) as receiver:
        outbound = Outbound(5.0, True, Names(["127.0.0.1"]), trusting)
        assert (await outbound.post(f"https://hooks.example.com:{receiver.port}/", HEADERS, b"{}")).good
        with pytest.raises(Undelivered, match="(?i)certificate"):
            await outbound.post(f"https://other.example.com:{receiver.port}/", HEADERS, b"{}")
    assert asked == ["hooks.example.com", "other.example.com"] and len(receiver.seen) == 1


async def test_https_is_not_left_for_http(certificates: Contexts) -> None:
    served, trusting = certificates
    async with open_receiver(tls=served) as safe, open_receiver() as bare:
        safe.reply = lambda _: Reply(307, {"location": bare.url})
        outbound = Outbound(5.0, True, Names(["127.0.0.1"]), trusting)
        with pytest.raises(Undelivered, match="from https to http"):
            await outbound.post(f"https://hooks.example.com:{safe.port}/", HEADERS, b"{}")
    assert bare.connections == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_receiver() as receiver:
        assert isinstance(receiver, Receiver) and (await client().post(receiver.url, HEADERS, b"{}")).good
