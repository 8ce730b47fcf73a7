"""Where webhooks may lead: public addresses alone, however they are written."""

import pytest

from protocol.errors import Invalid
from runtime.addresses import AddressRefused, check_url, may_connect

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808",
    "2002:808:808::1",
]  # fmt: skip
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]
SHUT = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.0",
    "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.0.192", "192.88.99.1", "198.18.0.1",
    "192.0.2.1", "168.63.129.16", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "2002:7f00:1::1", "2002:a00:1::1", "2001:0:5ef5:79fb::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1",
    "fe80::1%eth0", "localhost", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert may_connect(address, loopback=False) and may_connect(address, loopback=True)


@pytest.mark.parametrize("address", SHUT)
def test_no_other_address_may_whatever_is_switched_on(address: str) -> None:
    assert not may_connect(address, loopback=False) and not may_connect(address, loopback=True)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_may_where_that_is_switched_on(address: str) -> None:
    assert may_connect(address, loopback=True) and not may_connect(address, loopback=False)


@pytest.mark.parametrize("address", ["64:ff9b::7f00:1", "2002:7f00:1::1"])
def test_loopback_inside_a_translated_address_is_not_this_machines(address: str) -> None:
    assert not may_connect(address, loopback=True)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("http://Example.com:8080/a%20b?c=d#e", "example.com", 8080, "/a%20b?c=d"),
        ("https://[2606:4700:4700::1111]:8443/x", "2606:4700:4700::1111", 8443, "/x"),
        ("http://no-such-host.invalid/hook", "no-such-host.invalid", 80, "/hook"),
    ],
)
def test_a_url_is_read_without_looking_up_its_name(url: str, host: str, port: int, path: str) -> None:
    target = check_url(url, loopback=False)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "example.com/hook", "//example.com/", "http://", "http:///hook", "http://:80/", "",
        "http://user:secret@example.com/", "http://user@example.com/", "http://example.com:0/", "http://example.com:x/",
        "http://example.com:99999/", "http://example.com:/", "http://exa mple.com/", "http://example.com/\r\nX: y",
        "http://example.com/\x00", "http://exämple.com/", "http://[::1/", "http://example.com\\@evil.com/", "http://a%2fb/",
        "javascript:alert(1)", "file:///etc/passwd", "http://example.com/" + "a" * 2048,
    ],
)  # fmt: skip
def test_a_url_that_is_none_for_a_webhook_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url, loopback=True)
    assert refused.value.message.endswith(".") and "secret" not in refused.value.message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "localhost", "a.localhost."]
)
def test_a_private_address_that_is_written_out_is_refused_when_it_is_set(host: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(f"http://{host}/", loopback=False)


def test_loopback_written_out_may_be_set_where_that_is_switched_on_and_nothing_else_private() -> None:
    assert check_url("http://127.0.0.1:9/", loopback=True).port == 9 and check_url("http://localhost/", loopback=True)
    with pytest.raises(AddressRefused):
        check_url("http://10.0.0.1/", loopback=True)
