"""Signed tokens (JWT, RFC 7519 and 8725): the signature, the issuer, the audience and the time are all verified."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from caudal.runtime.access.identity import Headers, NotAdmitted, Person, groups_of, only, person_name
from caudal.runtime.access.keys import Key, KeySource, NoKeys, source_of
from caudal.runtime.access.settings import TokenSettings

#: What a key must be to verify an algorithm's signatures: type, and curve where it has one. A key made for one thing is not
#: used for another, and a public key is never a shared secret.
_KEY_OF = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
LIMIT_CHARACTERS = 16_384
_log = logging.getLogger(__name__)


class LibraryMissing(RuntimeError):
    """Signed tokens cannot be verified, for what verifies them is not installed."""


def require_library() -> None:
    """Say early, and not to the first person who comes, that tokens cannot be verified.

    Raises:
        LibraryMissing: PyJWT or cryptography is not installed.
    """
    try:
        import cryptography  # noqa: F401
        import jwt  # noqa: F401
    except ImportError as problem:
        raise LibraryMissing(f"access.yaml has jwt, and {problem.name} is not installed; install caudal[access]") from None


@dataclass
class Tokens:
    """Recognizes people by their tokens."""

    settings: TokenSettings
    source: KeySource = field(init=False)

    def __post_init__(self) -> None:
        self.source = source_of(self.settings)

    def person(self, headers: Headers) -> Person | None:
        """Whom the token of the request names; None if there is no token.

        Raises:
            NotAdmitted: it is not good.
        """
        token = only(headers, self.settings.header)
        if not token:
            return None
        if self.settings.header == "authorization":
            scheme, _, token = token.partition(" ")
            if scheme.lower() != "bearer":
                raise NotAdmitted("The header authorization holds something other than a bearer token.")
        return self._person(self._verified(token.strip()))

    def _verified(self, token: str) -> dict[str, Any]:
        import jwt

        if len(token) > LIMIT_CHARACTERS:
            raise NotAdmitted("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self.settings.algorithms:
                raise NotAdmitted("The token is signed in a way that is not accepted here.")
            key = jwt.PyJWK(dict(self._key(header.get("kid"), algorithm)), algorithm=algorithm)
            return jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                audience=self.settings.audience,
                issuer=self.settings.issuer,
                leeway=self.settings.leeway_s,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            raise NotAdmitted("Your sign-in has expired. Load the page again to sign in.") from None
        except jwt.PyJWTError as problem:
            _log.info("A token was refused: %s", type(problem).__name__)
            raise NotAdmitted("The token of the sign-in is not valid here.") from None
        except NoKeys as problem:
            _log.error("Nobody can sign in. %s", problem)
            raise NotAdmitted("Sign-in cannot be verified at the moment. Try again in a minute.", 503) from None

    def _key(self, name: str | None, algorithm: str) -> Key:
        keys = [key for key in self.source.keys(name) if _can_verify(key, algorithm)]
        named = [key for key in keys if key.get("kid") == name] if name is not None else keys
        if len(named) != 1:
            raise NotAdmitted("The token is signed with a key that is not the sign-in's.")
        return named[0]

    def _person(self, claims: dict[str, Any]) -> Person:
        if str(claims.get("email_verified", True)).lower() != "true" and self.settings.email_claim == "email":
            raise NotAdmitted("Your e-mail address is not verified by the sign-in.", 403)
        name = person_name(claims.get(self.settings.email_claim))
        groups = frozenset(groups_of(claims.get(self.settings.groups_claim)))
        return Person(name, groups, "jwt", float(claims["exp"]) + self.settings.leeway_s)


def _can_verify(key: Key, algorithm: str) -> bool:
    kind, curve = _KEY_OF[algorithm]
    operations = key.get("key_ops")
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (operations is None or "verify" in operations)
    )
