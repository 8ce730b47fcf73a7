"""Agent cards: what an agent says of itself, where it is reached and how, signed if there is a key (A2A 1.0.1, 4.4, 8).

A skill that is declared `extended` is on the extended card alone, which only a caller with a credential is shown.
"""

import base64
import hashlib
import time
from email.utils import formatdate
from typing import Any

import orjson
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import AgentCard
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from a2a.utils.errors import UnsupportedOperationError
from a2a.utils.signing import create_agent_card_signer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from google.protobuf.json_format import ParseDict
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.requests import Request

from protocol.errors import Refused
from runtime.settings import Settings

from ..address import reached_at
from ..auth import Auth
from ..resource import segment
from .call import CURSOR, IDEMPOTENCY, version_of

BASE = "/a2a"
KEYS_PATH = "/.well-known/jwks.json"
MODES = ("text/plain", "application/json", "image/*", "audio/*", "video/*", "application/*")
_CARDS_MAX = 1_000
_DESCRIPTIONS = {
    CURSOR: "Updates carry the number of their entry in the task's log, and a stream goes on after any of them.",
    IDEMPOTENCY: "A message that is sent again under the same Idempotency-Key is taken once.",
}
_BEARER = {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": "An API key of this gateway."}}


class Signer:
    """An asymmetric private key in PEM. ES256, RS256 or EdDSA follows from its kind."""

    def __init__(self, pem: bytes) -> None:
        """Raises Refused where this is no such key."""
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError) as bad:
            raise Refused(f"HOCKET_A2A_SIGNING_KEY: this is no private key in PEM without a password: {bad}.") from None
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
            algorithm, public = "ES256", ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        elif isinstance(key, rsa.RSAPrivateKey):
            algorithm, public = "RS256", RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        elif isinstance(key, ed25519.Ed25519PrivateKey):
            algorithm, public = "EdDSA", OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            raise Refused("HOCKET_A2A_SIGNING_KEY: an EC key on P-256, an RSA key or an Ed25519 key is expected.")
        told = {name: value for name, value in public.items() if name in ("crv", "e", "kty", "n", "x", "y")}
        digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()  # RFC 7638
        self._pem, self._algorithm = pem, algorithm
        self._kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        self.jwks = {"keys": [told | {"kid": self._kid, "alg": algorithm, "use": "sig"}]}

    def sign(self, card: AgentCard, base: str) -> AgentCard:
        header: Any = {"alg": self._algorithm, "typ": "JOSE", "kid": self._kid, "jku": base + KEYS_PATH}
        return create_agent_card_signer(self._pem, header)(card)


class Cards:
    """The cards of all agents, and what this gateway can do for any of them."""

    def __init__(self, settings: Settings, version: str, auth: Auth) -> None:
        """Raises Refused where the signing key cannot be used."""
        self._settings, self._version, self._auth = settings, version, auth
        offered = {name.strip() for name in settings.a2a_capabilities.split(",")}
        self.streams, self.pushes = "streaming" in offered, "push" in offered
        self.extends = "extended_card" in offered
        self._legacy = "0.3" in offered
        path = settings.a2a_signing_key
        try:
            self.signer = Signer(path.read_bytes()) if path is not None else None
        except OSError as bad:
            raise Refused(f"HOCKET_A2A_SIGNING_KEY: {path} cannot be read: {bad.strerror}.") from None
        self._served: dict[bytes, tuple[str, float, bytes]] = {}

    def check_streaming(self) -> None:
        """Raises UnsupportedOperationError."""
        if not self.streams:
            raise UnsupportedOperationError("Streaming is switched off here: poll with GetTask.")

    def base(self, request: Request) -> str:
        """Where peers reach this gateway."""
        return reached_at(request, self._settings.public_url)

    def card(
        self, options: dict[str, Any], request: Request, extended: bool = False, default: bool = False
    ) -> AgentCard:
        """The agent's card, signed if there is a key. `default` gives it the addresses without its name."""
        base, name = self.base(request), str(options["name"])
        url = base + BASE + ("" if default else f"/{segment(name)}")
        skills = [_skill(one) for one in options.get("skills", ()) if extended or not one.get("extended")]
        # declared, the SDK writes the fields of a card of 0.3 beside those of 1.0, which 1.0's schema does not know
        legacy = [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}] if self._old(request) else []
        told: dict[str, Any] = {
            "name": name,
            "description": options.get("description") or f"The agent {name}.",
            "version": options.get("version") or self._version,
            "supportedInterfaces": [
                {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
                {"url": url, "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
                *legacy,
            ],
            "capabilities": {
                "streaming": self.streams,
                "pushNotifications": self.pushes,
                "extendedAgentCard": self.extends,
                "extensions": [{"uri": uri, "description": text} for uri, text in _DESCRIPTIONS.items()],
            },
            "defaultInputModes": options.get("input_modes") or MODES,
            "defaultOutputModes": options.get("output_modes") or MODES[:2],
            "skills": skills or [{"id": name, "name": name, "description": f"What {name} does.", "tags": ["agent"]}],
        }
        if self._auth.keyed:
            told |= {"securitySchemes": {"bearer": _BEARER}, "securityRequirements": [{"schemes": {"bearer": {}}}]}
        card = ParseDict(told, AgentCard())
        return self.signer.sign(card, base) if self.signer is not None else card

    def _old(self, request: Request) -> bool:
        """Whether a peer is to be told what those of 0.3 read; without a version it is one (A2A 1.0.1, 3.6.2)."""
        return self._legacy and not version_of(request).startswith("1.")

    def served(self, options: dict[str, Any], request: Request, default: bool) -> tuple[str, str, bytes]:
        """(ETag, Last-Modified, body): the same bytes as long as the card says the same, which also keeps a signature
        that is random from changing it. Last-Modified is when this process first said it."""
        about = [options, self.base(request), default, self._auth.keyed, self._old(request)]
        asked = orjson.dumps(about, option=orjson.OPT_SORT_KEYS)
        held = self._served.get(asked)
        if held is None:
            body = orjson.dumps(agent_card_to_dict(self.card(options, request, default=default)))
            etag = f'W/"{hashlib.sha256(asked + self._version.encode()).hexdigest()[:32]}"'
            if len(self._served) >= _CARDS_MAX:  # who asks under ever new names must not fill the memory
                self._served.clear()
            held = self._served[asked] = etag, time.time() // 1, body
        return held[0], formatdate(held[1], usegmt=True), held[2]


def _skill(told: dict[str, Any]) -> dict[str, Any]:
    shown = ("id", "name", "description", "tags", "examples")
    return {name: told[name] for name in shown if told.get(name)}


CARD_PATH = AGENT_CARD_WELL_KNOWN_PATH
