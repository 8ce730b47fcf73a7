"""What an agent's card says, to whom, and how a peer knows that it is the gateway's own."""

from pathlib import Path
from typing import Any

import jwt
import pytest
from a2a.types import AgentCard
from a2a.utils.signing import create_signature_verifier
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import ParseDict

from gateway.a2a.cards import Signer
from protocol.errors import Refused
from runtime.nats_server import EmbeddedServer
from runtime.settings import Settings
from tests.gateway.a2a.peer import VERSION, call, echo
from tests.house import bearer, give_key, open_house

pytestmark = pytest.mark.anyio

PATH = "/.well-known/agent-card.json"


async def skilled(run: Any) -> Any:
    yield "ok"


skilled.hocket = {  # type: ignore[attr-defined]
    "description": "Does things.", "version": "7", "input_modes": ["text/plain"], "output_modes": ["text/html"],
    "skills": [{"id": "a", "name": "A", "description": "Does A.", "tags": ["x"], "examples": ["do a"]},
               {"id": "b", "name": "B", "description": "Does B.", "tags": ["y"], "extended": True}],
}  # fmt: skip


def pem(key: Any) -> bytes:
    found: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return found


async def test_a_card_says_what_the_agent_declares_and_where_it_is_reached(
    nats: EmbeddedServer, settings: Settings
) -> None:
    async with open_house(nats, settings, echo=echo, skilled=skilled) as house:
        card = (await house.client.get(f"/a2a/skilled{PATH}")).json()
        plain, root = [(await house.client.get(path)).json() for path in (f"/a2a/echo{PATH}", PATH)]
        extended = (await call(house, "skilled", "GetExtendedAgentCard"))["result"]
        unknown = await house.client.get(f"/a2a/nobody{PATH}")
        named = [(one["protocolBinding"], one["protocolVersion"], one["url"]) for one in card["supportedInterfaces"]]
        url = f"{house.url}/a2a/skilled"
    assert named == [("JSONRPC", "1.0", url), ("HTTP+JSON", "1.0", url), ("JSONRPC", "0.3", url)]
    assert (card["name"], card["description"], card["version"]) == ("skilled", "Does things.", "7")
    assert (card["defaultInputModes"], card["defaultOutputModes"]) == (["text/plain"], ["text/html"])
    assert [one["id"] for one in card["skills"]] == ["a"] and [one["id"] for one in extended["skills"]] == ["a", "b"]
    assert plain["skills"][0]["id"] == "echo" and "securitySchemes" not in plain
    assert root["name"] == "echo" and root["supportedInterfaces"][0]["url"].endswith("/a2a")
    assert unknown.status_code == 404 and "Known agents: echo, skilled" in unknown.json()["error"]["message"]


async def test_a_card_that_is_known_is_not_sent_again(nats: EmbeddedServer, settings: Settings) -> None:
    settings = settings.model_copy(update={"public_url": "https://agents.example.com/", "a2a_agent": "echo"})
    async with open_house(nats, settings, another=echo, echo=echo) as house:
        first = await house.client.get(PATH)
        again = [
            await house.client.get(PATH, headers=headers)
            for headers in ({"if-none-match": first.headers["etag"]}, {"if-none-match": 'W/"x", *'},
                            {"if-modified-since": first.headers["last-modified"]})
        ]  # fmt: skip
        changed = await house.client.get(PATH, headers={"if-none-match": '"other"'})
    assert first.json()["url"] == "https://agents.example.com/a2a" and first.json()["name"] == "echo"
    assert first.headers["cache-control"] == "public, max-age=60"
    assert [one.status_code for one in again] == [304, 200, 304] and changed.content == first.content


async def test_with_keys_the_card_says_so_and_is_still_for_anyone(nats: EmbeddedServer, settings: Settings) -> None:
    async with open_house(nats, settings, echo=echo) as house:
        key = await give_key(house)
        card = await house.client.get(f"/a2a/echo{PATH}")
        refused = [
            await house.client.get("/a2a/echo/extendedAgentCard", headers=VERSION),
            await house.client.post("/a2a/echo", json={}, headers=VERSION),
        ]
        taken = await house.client.get("/a2a/echo/extendedAgentCard", headers=VERSION | bearer(key))
    assert card.json()["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"
    assert card.json()["securityRequirements"] == [{"schemes": {"bearer": {}}}]
    assert [one.status_code for one in refused] == [401, 401] and taken.status_code == 200
    assert refused[0].json()["error"]["status"] == "UNAUTHENTICATED" and refused[0].headers["www-authenticate"]


@pytest.mark.parametrize("kind", ["ES256", "RS256", "EdDSA"])
async def test_a_signed_card_is_verified_with_the_key_that_it_names(
    nats: EmbeddedServer, settings: Settings, tmp_path: Path, kind: str
) -> None:
    made = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    path = tmp_path / "key.pem"
    path.write_bytes(pem(made[kind]()))
    async with open_house(nats, settings.model_copy(update={"a2a_signing_key": path}), echo=echo) as house:
        first, second = [(await house.client.get(PATH)).json() for _ in range(2)]
        (key,) = (await house.client.get("/.well-known/jwks.json")).json()["keys"]
        extended = (await call(house, "echo", "GetExtendedAgentCard"))["result"]
    assert first == second

    def found(kid: str | None, jku: str | None) -> jwt.PyJWK:
        assert kid == key["kid"] and jku is not None and jku.endswith("/.well-known/jwks.json")
        return jwt.PyJWK(key)

    verify = create_signature_verifier(found, [kind])
    for told in (first, extended):
        verify(ParseDict(told, AgentCard(), ignore_unknown_fields=True))


def test_a_signing_key_that_is_none_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    for bad in (b"nonsense", pem(ec.generate_private_key(ec.SECP384R1()))):
        with pytest.raises(Refused, match="HOCKET_A2A_SIGNING_KEY"):
            Signer(bad)


async def test_an_extended_card_that_is_switched_off_is_not_supported(nats: EmbeddedServer, settings: Settings) -> None:
    settings = settings.model_copy(update={"a2a_capabilities": ""})
    async with open_house(nats, settings, echo=echo) as house:
        refused = (await call(house, "echo", "GetExtendedAgentCard"))["error"]
        capabilities = (await house.client.get(PATH)).json()["capabilities"]
    assert refused["code"] == -32004
    assert [capabilities[name] for name in ("streaming", "pushNotifications", "extendedAgentCard")] == [False] * 3
