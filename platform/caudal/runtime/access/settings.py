"""`access.yaml`: how people are recognized and which role each has. Holds no secret, only where secrets are.

    jwt:                                   # identity is a signed token that the company's sign-in puts into a header
      header: x-goog-iap-jwt-assertion     # default: authorization, as `Bearer <token>`
      issuer: https://cloud.google.com/iap
      audience: /projects/1234/global/backendServices/5678
      keys_url: https://www.gstatic.com/iap/verify/public_key-jwk
      algorithms: [ES256]
    proxy:                                 # or: identity is a header that only these addresses may set
      addresses: [10.1.0.0/24]
      email_header: x-forwarded-email
    roles:
      admin: {people: [eva@example.com]}
      editor: {groups: [data-engineering]}
      viewer: {people: ["*@example.com"]}

One of `jwt` and `proxy`, or both: a request that brings a token is judged by its token alone.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from caudal.declaration import read_yaml
from caudal.runtime.access.roles import Role
from caudal.runtime.access.sites import is_loopback, origin_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Signatures that a public key verifies. With those of a shared secret, whoever may verify may also sign.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def _header_name(name: str) -> str:
    return name.lower()


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$"), AfterValidator(_header_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Members(_Section):
    """Who has a role.

    Attributes:
        people: e-mail addresses, or `*@domain` for everybody of a domain; case does not matter.
        groups: groups of the sign-in, as they are spelled there.
    """

    people: tuple[Annotated[str, StringConstraints(pattern=r"^(\*@)?[!-)+-~]+$", to_lower=True)], ...] = ()
    groups: tuple[Text, ...] = ()


class TokenSettings(_Section):
    """How a signed token is verified.

    Attributes:
        header: where it is. In `authorization` it stands after `Bearer`.
        issuer, audience: what its `iss` and `aud` must be.
        keys_url, keys_file: the public keys (JWKS), one of the two. A URL is `https`, or on this machine.
        algorithms: those that are accepted.
        email_claim, groups_claim: what is read from it.
        leeway_s: how far the clocks of sign-in and webserver may be apart.
        keys_lifetime_s: after this the keys are asked for again; sooner if a token is signed by one that is not known.
    """

    header: HeaderName = "authorization"
    issuer: Text
    audience: Text
    keys_url: Text | None = None
    keys_file: Path | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    email_claim: Text = "email"
    groups_claim: Text = "groups"
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    keys_lifetime_s: Annotated[float, Field(ge=60, le=86400)] = 3600.0

    @field_validator("keys_url")
    @classmethod
    def _safe(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://none")
        if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            return url
        raise ValueError("expected an https:// address: whoever can change the keys on their way can sign in as anybody")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.keys_url is None) == (self.keys_file is None):
            raise ValueError("expected either keys_url or keys_file, the public keys of the issuer")
        return self


class ProxySettings(_Section):
    """Which proxy is believed, and where it says who is asking.

    Attributes:
        addresses: networks or addresses that the proxy connects from; nobody else may set the headers.
        email_header, groups_header: what it sets; groups are separated by commas.
    """

    addresses: Annotated[tuple[Network, ...], Field(min_length=1)]
    email_header: HeaderName = "x-forwarded-email"
    groups_header: HeaderName | None = "x-forwarded-groups"

    @field_validator("addresses")
    @classmethod
    def _not_everybody(cls, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        for network in networks:
            if network.prefixlen == 0:
                raise ValueError(f"{network} is everybody: anyone could set the header; expected the proxy's own addresses")
        return networks


class AuditSettings(_Section):
    """How much of the audit is kept.

    Attributes:
        rotate_bytes: a file that is larger is put aside.
        keep_files: how many that were put aside are kept.
    """

    rotate_bytes: Annotated[int, Field(ge=100_000)] = 20_000_000
    keep_files: Annotated[int, Field(ge=1)] = 50


class AccessSettings(_Section):
    """What `access.yaml` says.

    Attributes:
        jwt, proxy: how people are recognized.
        roles: who has which role; who has several has the highest, who has none sees nothing.
        origins: addresses under which browsers know this webserver, if the proxy does not hand on the `Host`.
        metrics_token_file: holds the bearer token with which `/metrics` can be read without a role.
        audit: how much of the audit is kept.
    """

    jwt: TokenSettings | None = None
    proxy: ProxySettings | None = None
    roles: dict[Role, Members]
    origins: tuple[str, ...] = ()
    metrics_token_file: Path | None = None
    audit: AuditSettings = AuditSettings()

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin_of(origin) != origin:
                raise ValueError(f"found {origin!r}; expected a scheme, a host and no path, such as https://caudal.example.com")
        return origins

    @model_validator(mode="after")
    def _someone_can_come_in(self) -> Self:
        if self.jwt is None and self.proxy is None:
            raise ValueError("expected jwt or proxy: how people are recognized")
        if not any(members.people or members.groups for members in self.roles.values()):
            raise ValueError("roles names nobody; expected people or groups for at least one of viewer, editor, admin")
        return self


def read_settings(path: Path) -> AccessSettings:
    """Read `access.yaml`. Paths in it are relative to its folder.

    Raises:
        DeclarationError: it is missing or says what is not understood; with file and line.
    """
    found = read_yaml(path).validate(AccessSettings)
    beside = path.resolve().parent
    changed: dict[str, object] = {}
    if found.jwt is not None and found.jwt.keys_file is not None:
        changed["jwt"] = found.jwt.model_copy(update={"keys_file": beside / found.jwt.keys_file})
    if found.metrics_token_file is not None:
        changed["metrics_token_file"] = beside / found.metrics_token_file
    return found.model_copy(update=changed)
