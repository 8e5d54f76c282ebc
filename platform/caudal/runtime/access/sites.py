"""Whether a request comes from a page of this webserver, or from another site that a browser happens to have open."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

#: A browser sends these with every request; `none` is a person who typed the address.
_OWN_PAGES = frozenset({"same-origin", "none"})


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that `text` is, an IPv4 address within IPv6 as itself; None if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and nobody else can reach it: `localhost`, 127.0.0.0/8 or ::1."""
    address = address_of(host.removeprefix("[").removesuffix("]"))
    return host.lower() == "localhost" if address is None else address.is_loopback


def host_of(header: str) -> str | None:
    """The host in a `Host` header, without its port. None if the header is not one host."""
    parts = _parts(f"//{header}")
    if parts is None or "@" in header or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def origin_of(url: str) -> str | None:
    """Scheme, host and port of `url`, without a default port; None if it has none, as `null` has."""
    parts = _parts(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" if parts.port in (None, default) else f"{parts.scheme}://{host}:{parts.port}"


def cross_site(*, site: str | None, origin: str | None, host: str | None, origins: Collection[str]) -> str | None:
    """Why a request that changes something is not from a page of this webserver; None if it is, or is from no browser.

    Args:
        site: the header `Sec-Fetch-Site`, which a page cannot set.
        origin: the header `Origin`, which a page cannot set either.
        host: the header `Host`.
        origins: addresses under which browsers know this webserver besides `host`.
    """
    if site is not None and site not in _OWN_PAGES:
        return f"it was sent by a page of another site (Sec-Fetch-Site: {site[:40]})"
    if origin is None or origin_of(origin) in origins:
        return None
    own = {origin_of(f"{scheme}://{host}") for scheme in ("http", "https")} if host else set()
    if site in _OWN_PAGES or (origin_of(origin) is not None and origin_of(origin) in own):
        return None
    return f"it was sent by a page of {origin[:100]}, which is not this webserver"


def _parts(url: str):  # noqa: ANN202 - urllib's own result, or None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
