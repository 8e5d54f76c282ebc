"""Signed tokens: what is believed, and every way in which a forged one is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from caudal.runtime.access.identity import NotAdmitted
from caudal.runtime.access.keys import PAUSE_S, STALE_S, KeysFile, KeysUrl, NoKeys
from caudal.runtime.access.settings import TokenSettings
from caudal.runtime.access.tokens import Tokens

ISSUER, AUDIENCE = "https://sign-in.example", "caudal"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, name: str, **more: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}.get(
        next(base for base in (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, object) if isinstance(key, base)), OKPAlgorithm
    )
    made = kind.to_jwk(key.public_key(), as_dict=True)
    return {key: value for key, value in made.items() if key != "key_ops"} | {"kid": name, **more}


KEYS = [
    public(RSA, "rsa"),
    public(EC, "ec"),
    public(ED, "ed"),
    public(EC384, "ec384"),
    public(WEAK, "weak"),
    public(OTHER, "for-secrets", use="enc"),
    public(OTHER, "for-ps256", alg="PS256"),
    public(OTHER, "for-signing", key_ops=["sign"]),
    {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
]


@pytest.fixture
def tokens(tmp_path: Path) -> Callable[..., Tokens]:
    def make(**settings: Any) -> Tokens:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": KEYS}))
        given = {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": path, "algorithms": ["RS256", "PS256", "ES256", "EdDSA"]}
        return Tokens(TokenSettings.model_validate(given | settings))

    return make


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": time.time() + 60,
        "email": "Ada@Stall.example",
        "groups": ["sellers"],
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", name: str | None = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": name} if name else {})


def sent(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


def by_hand(header: dict[str, Any], payload: dict[str, Any], key: bytes = b"") -> str:
    """A token as somebody writes it who does not ask a library."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = f"{part(json.dumps(header).encode())}.{part(json.dumps(payload).encode())}"
    return f"{body}.{part(hmac.new(key, body.encode(), hashlib.sha256).digest()) if key else ''}"


@pytest.mark.parametrize(
    ("key", "algorithm", "name"), [(RSA, "RS256", "rsa"), (RSA, "PS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
def test_a_token_that_the_sign_in_signed_names_a_person(
    tokens: Callable[..., Tokens], key: Any, algorithm: str, name: str
) -> None:
    expires_s = time.time() + 60
    person = tokens().person(sent(signed(key, algorithm, name, exp=expires_s)))
    assert person is not None
    assert (person.name, person.groups, person.source) == ("ada@stall.example", {"sellers"}, "jwt")
    assert person.expires_s == pytest.approx(int(expires_s) + 30, abs=1)


def test_the_token_may_stand_in_a_header_of_its_own(tokens: Callable[..., Tokens]) -> None:
    found = tokens(header="X-Goog-IAP-JWT-Assertion")
    person = found.person([(b"x-goog-iap-jwt-assertion", signed(EC, "ES256", "ec", groups="one").encode())])
    assert person is not None
    assert person.groups == {"one"}
    assert found.person(sent(signed())) is None, "a token elsewhere is no token"


PUBLIC_TEXT = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FORGED = {
    "expired": lambda: signed(exp=time.time() - 31),
    "never expires": lambda: signed(exp=None),
    "not yet": lambda: signed(nbf=time.time() + 300),
    "issued tomorrow": lambda: signed(iat=time.time() + 86400),
    "for somebody else": lambda: signed(aud="another"),
    "for nobody": lambda: signed(aud=None),
    "of another issuer": lambda: signed(iss="https://sign-in.example.evil.example"),
    "of no issuer": lambda: signed(iss=None),
    "without a name": lambda: signed(email=None),
    "with two names": lambda: signed(email="ada@stall.example,eve@x"),
    "with a list for a name": lambda: signed(email=["ada@stall.example"]),
    "not verified": lambda: signed(email_verified=False),
    "not verified, as text": lambda: signed(email_verified="false"),
    "by another key": lambda: signed(OTHER),
    "by an unknown key": lambda: signed(name="unknown"),
    "by a key that is not named": lambda: signed(name=None),
    "by a key for secrets": lambda: signed(OTHER, name="for-secrets"),
    "by a key that only signs": lambda: signed(OTHER, name="for-signing"),
    "by a key of another algorithm": lambda: signed(OTHER, name="for-ps256"),
    "by a key that is too short": lambda: signed(WEAK, name="weak"),
    "by a curve of another algorithm": lambda: signed(EC384, "ES384", "ec384"),
    "by a curve that is called another": lambda: signed(EC, "ES256", "ec384"),
    "not signed": lambda: by_hand({"alg": "none", "kid": "rsa"}, claims()),
    "not signed, in capitals": lambda: by_hand({"alg": "NONE", "kid": "rsa"}, claims()),
    "without an algorithm": lambda: by_hand({"kid": "rsa"}, claims()),
    "the public key as a shared secret": lambda: by_hand({"alg": "HS256", "kid": "rsa"}, claims(), PUBLIC_TEXT),
    "a shared secret": lambda: by_hand({"alg": "HS256", "kid": "shared"}, claims(), b"s" * 32),
    "RS256 in the header and a shared secret": lambda: by_hand({"alg": "RS256", "kid": "shared"}, claims(), b"s" * 32),
    "with a key of its own": lambda: jwt.encode(claims(), OTHER, "RS256", headers={"kid": "rsa", "jwk": public(OTHER, "rsa")}),
    "with keys of its own": lambda: jwt.encode(
        claims(), OTHER, "RS256", headers={"kid": "rsa", "jku": "https://evil.example/keys"}
    ),
    "with something critical": lambda: jwt.encode(claims(), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
    "with a signature cut off": lambda: signed().rsplit(".", 1)[0] + ".",
    "with claims exchanged": lambda: ".".join(
        [signed().split(".")[0], signed(email="eve@x.example").split(".")[1], signed().split(".")[2]]
    ),
    "with a list for a key's name": lambda: by_hand({"alg": "RS256", "kid": ["rsa"]}, claims(), b"x"),
    "with a list for an algorithm": lambda: by_hand({"alg": ["RS256"], "kid": "rsa"}, claims(), b"x"),
    "no token": lambda: "hello",
    "nothing but dots": lambda: "..",
    "too long": lambda: "a" * 20_000,
}


@pytest.mark.parametrize("how", FORGED)
def test_a_token_that_is_not_good_admits_nobody_and_is_not_repeated(tokens: Callable[..., Tokens], how: str) -> None:
    token = FORGED[how]()
    with pytest.raises(NotAdmitted) as refused:
        tokens().person(sent(token))
    assert token not in str(refused.value)
    assert refused.value.status in (401, 403)


def test_a_token_in_two_headers_is_refused(tokens: Callable[..., Tokens]) -> None:
    with pytest.raises(NotAdmitted, match="2 times"):
        tokens().person(sent(signed()) + sent(signed()))
    with pytest.raises(NotAdmitted, match="other than a bearer token"):
        tokens().person([(b"authorization", b"Basic YWRhOmFkYQ==")])


def test_a_request_without_a_token_is_not_judged_by_it(tokens: Callable[..., Tokens]) -> None:
    assert tokens().person([]) is None


# Keys


class Issuer:
    """A sign-in that publishes keys, and counts who asks."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys, self.asked, self.now_s, self.down = list(keys), 0, 0.0, False

    def fetch(self, _url: str) -> bytes:
        self.asked += 1
        if self.down:
            raise OSError("connection refused")
        return json.dumps({"keys": self.keys}).encode()

    def source(self) -> KeysUrl:
        return KeysUrl("https://sign-in.example/keys", 3600, self.fetch, lambda: self.now_s)


def test_keys_are_asked_for_once_and_again_after_their_lifetime() -> None:
    issuer = Issuer(KEYS[0])
    source = issuer.source()
    for now_s, asked in ((0, 1), (10, 1), (3600, 1), (3601, 2), (3700, 2)):
        issuer.now_s = now_s
        assert source.keys("rsa") == (KEYS[0],)
        assert issuer.asked == asked


def test_a_rotated_key_is_known_at_once_but_unknown_keys_do_not_make_us_ask_without_end() -> None:
    issuer = Issuer(KEYS[0])
    source = issuer.source()
    source.keys("rsa")
    issuer.keys = [KEYS[1]]
    issuer.now_s = PAUSE_S
    assert source.keys("ec") == (KEYS[1],)
    for number in range(100):
        source.keys(f"unknown-{number}")
    assert issuer.asked == 2


def test_keys_outlive_an_issuer_that_is_down_and_not_for_ever() -> None:
    issuer = Issuer(KEYS[0])
    source = issuer.source()
    source.keys("rsa")
    issuer.down, issuer.now_s = True, 5000
    assert source.keys("rsa") == (KEYS[0],)
    issuer.now_s = STALE_S + 1
    with pytest.raises(NoKeys, match=r"The keys at https://sign-in.example/keys cannot be had: OSError: connection refused"):
        source.keys("rsa")


def test_an_issuer_that_is_down_from_the_start_is_not_asked_by_every_request() -> None:
    issuer = Issuer()
    source = issuer.source()
    for _ in range(10):
        with pytest.raises(NoKeys, match="holds no key"):
            source.keys("rsa")
    assert issuer.asked == 1


def test_a_key_file_is_read_again_when_it_changes(tmp_path: Path, tokens: Callable[..., Tokens]) -> None:
    found = tokens()
    assert found.person(sent(signed())) is not None
    (tmp_path / "new.json").write_text(json.dumps({"keys": [public(OTHER, "rsa")]}))
    (tmp_path / "new.json").rename(tmp_path / "keys.json")
    with pytest.raises(NotAdmitted, match="not valid here"):
        found.person(sent(signed()))
    assert found.person(sent(signed(OTHER))) is not None


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "cannot be read"), ("{", "no JWKS"), ("[]", "no JWKS"), ('{"keys": []}', "no key")]
)
def test_without_keys_nobody_is_admitted_and_the_log_says_why(
    tmp_path: Path, content: str | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    found = Tokens(TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys_file=path))
    assert isinstance(found.source, KeysFile)
    with pytest.raises(NotAdmitted, match="cannot be verified at the moment") as refused:
        found.person(sent(signed()))
    assert refused.value.status == 503
    assert problem in caplog.text
