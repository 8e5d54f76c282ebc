"""Who is asking, and which role that person has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caudal.runtime.access.roles import Role
from caudal.runtime.access.settings import Members, ProxySettings
from caudal.runtime.access.sites import address_of

#: What a name may be made of: printable ASCII that cannot be taken for two names. Other letters can look like these, and
#: some become them in lower case.
_NAME = re.compile(r"[!#-+\--:=?-~]{1,254}")

Headers = Sequence[tuple[bytes, bytes]]

#: Where the door leaves the identity, in the ASGI scope, for the request's context.
SCOPE_KEY = "caudal.identity"


class NotAdmitted(Exception):
    """A request that gets no page. The message is for the person who made it, and tells nothing that helps to guess.

    Attributes:
        status: of HTTP: 401 if nobody was recognized, 403 if somebody was and may not come in.
    """

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Person:
    """Who the sign-in says is asking.

    Attributes:
        name: an e-mail address, in lower case.
        groups: of the sign-in.
        source: how the person was recognized: `jwt` or `proxy`.
        expires_s: when that ends, in seconds since 1970; None if it is said with every request.
    """

    name: str
    groups: frozenset[str]
    source: str
    expires_s: float | None = None


@dataclass(frozen=True)
class Identity:
    """Who is asking, with a role. What is done is written down under this name."""

    name: str
    role: Role
    source: str
    expires_s: float | None = None


def only(headers: Headers, name: str) -> str | None:
    """The value of a header, None if it is not there.

    Raises:
        NotAdmitted: it is there twice, so that two readers may believe two values; or it is not text.
    """
    values = [value for key, value in headers if key.lower() == name.encode()]
    if not values:
        return None
    if len(values) > 1:
        raise NotAdmitted(f"The request has the header {name} {len(values)} times, where one is expected.")
    try:
        return values[0].decode("utf-8").strip()
    except UnicodeDecodeError:
        raise NotAdmitted(f"The header {name} is not UTF-8 text.") from None


def person_name(text: object) -> str:
    """`text` as a name, in lower case.

    Raises:
        NotAdmitted: it is not one name in ASCII.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise NotAdmitted("The sign-in gave no name that is one e-mail address in plain letters.")
    return text.lower()


def from_proxy(settings: ProxySettings, headers: Headers, address: str | None) -> Person | None:
    """Whom the trusted proxy names; None if it names nobody.

    Raises:
        NotAdmitted: the header is there, and did not come from a trusted address; or it is no name.
    """
    name = only(headers, settings.email_header)
    if not name:
        return None
    peer = address_of(address or "")
    if peer is None or not any(peer in network for network in settings.addresses):
        raise NotAdmitted(f"The header {settings.email_header} was not set by the sign-in: it came from another address.")
    groups = only(headers, settings.groups_header) if settings.groups_header else None
    found = frozenset(group.strip() for group in (groups or "").split(",") if group.strip())
    return Person(person_name(name), found, "proxy")


def role_of(person: Person, roles: Mapping[Role, Members]) -> Role | None:
    """The highest role that the person has by name, domain or group; None if there is none."""
    return max(
        (role for role, members in roles.items() if _is_member(person, members)), key=lambda role: role.rank, default=None
    )


def admitted(person: Person, roles: Mapping[Role, Members]) -> Identity:
    """The person with the role that `roles` gives.

    Raises:
        NotAdmitted: there is none.
    """
    role = role_of(person, roles)
    if role is None:
        raise NotAdmitted(
            f"You are signed in as {person.name}, who has no role here. Ask whoever runs this platform for one.", 403
        )
    return Identity(person.name, role, person.source, person.expires_s)


def local_user() -> Identity:
    """The person at this machine, by the account of this process. Its owner may do everything."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid-{os.getuid()}"
    return Identity(name, Role.ADMIN, "loopback")


def _is_member(person: Person, members: Members) -> bool:
    return bool(person.groups & set(members.groups)) or any(_matches(person.name, pattern) for pattern in members.people)


def _matches(name: str, pattern: str) -> bool:
    if not pattern.startswith("*@"):
        return name == pattern
    local, at, domain = name.rpartition("@")
    return bool(local and at) and "@" not in local and domain == pattern[2:]


def groups_of(claim: object) -> Iterable[str]:
    """The groups in a token's claim: a list of them, or one."""
    if isinstance(claim, str):
        return (claim,)
    return tuple(group for group in claim if isinstance(group, str)) if isinstance(claim, list) else ()
