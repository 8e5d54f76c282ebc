"""Who is recognized, and as what: properties of the mapping, and a proxy's header from everywhere."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.runtime.access.identity import Identity, NotAdmitted, Person, admitted, from_proxy, person_name, role_of
from caudal.runtime.access.roles import MUTATIONS, Role, needed_for_mutation, needed_for_permission
from caudal.runtime.access.settings import AccessSettings, Members, ProxySettings

PROXY = ProxySettings.model_validate({"addresses": ["10.1.0.0/24", "fd00::7"]})
LOCAL = st.text("abcdefghijklmnopqrstuvwxyz0123456789._+-", min_size=1, max_size=12)
DOMAIN = st.sampled_from(["stall.example", "elsewhere.example", "sub.stall.example", "notstall.example"])
NAMES = st.builds(lambda local, domain: f"{local}@{domain}", LOCAL, DOMAIN)
GROUPS = st.frozensets(st.sampled_from(["sellers", "buyers", "Sellers", "cleaners"]))
MEMBERS = st.builds(
    lambda people, domains, groups: Members(people=(*people, *(f"*@{domain}" for domain in domains)), groups=tuple(groups)),
    st.lists(NAMES, max_size=3),
    st.lists(DOMAIN, max_size=2),
    GROUPS,
)
ROLES = st.dictionaries(st.sampled_from(list(Role)), MEMBERS)
PEOPLE = st.builds(lambda name, groups: Person(name, groups, "proxy"), NAMES, GROUPS)


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]


@settings(max_examples=50)
@given(PEOPLE, ROLES)
def test_a_role_is_had_only_by_who_is_named_by_name_domain_or_group(person: Person, roles: dict[Role, Members]) -> None:
    def named(members: Members) -> bool:
        domain = person.name.split("@")[1]
        return person.name in members.people or f"*@{domain}" in members.people or bool(set(members.groups) & person.groups)

    having = [role for role in Role if role in roles and named(roles[role])]
    assert role_of(person, roles) == (having[-1] if having else None)
    if not having:
        with pytest.raises(NotAdmitted, match="has no role here") as refused:
            admitted(person, roles)
        assert refused.value.status == 403


@settings(max_examples=50)
@given(PEOPLE, ROLES, st.sampled_from(list(Role)), MEMBERS)
def test_naming_more_people_never_takes_a_role_from_anybody(
    person: Person, roles: dict[Role, Members], role: Role, more: Members
) -> None:
    before = role_of(person, roles)
    had = roles.get(role, Members())
    both = Members(people=had.people + more.people, groups=had.groups + more.groups)
    after = role_of(person, {**roles, role: both})
    assert before is None or (after is not None and after.covers(before))


@given(st.sampled_from(list(Role)), st.sampled_from(list(Role)))
def test_roles_are_a_ladder(one: Role, other: Role) -> None:
    assert one.covers(other) or other.covers(one)
    assert (one.covers(other) and other.covers(one)) == (one is other)


@given(st.text())
def test_what_no_table_names_needs_an_admin_and_nothing_needs_a_viewer_only(name: str) -> None:
    if name not in MUTATIONS:
        assert needed_for_mutation(name) is needed_for_permission(name) is Role.ADMIN
    assert all(needed.covers(Role.EDITOR) for needed in MUTATIONS.values())


@given(st.text())
def test_a_name_is_one_word_of_plain_letters_or_nobody(text: str) -> None:
    """The Kelvin sign becomes a k in lower case, and a Cyrillic a looks like ours: neither is anybody's name."""
    try:
        name = person_name(text)
    except NotAdmitted:
        return
    assert text.isascii()
    assert name == text.lower()
    assert not set(name) & set(' ,;"<>\r\n\t')


@pytest.mark.parametrize(
    "name", ["\u212aate@stall.example", "\u0430da@stall.example", "a@x,b@y", "a@x b@y", "", "a@x\n", None, 7, ["a@x"]]
)
def test_a_name_that_could_be_taken_for_another_is_refused(name: Any) -> None:
    with pytest.raises(NotAdmitted, match="no name that is one e-mail address"):
        person_name(name)


@given(st.ip_addresses())
def test_the_proxys_header_is_believed_from_the_proxy_only(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    trusted = any((mapped or address) in network for network in PROXY.addresses)
    try:
        person = from_proxy(PROXY, headers(x_forwarded_email="ada@stall.example"), str(address))
    except NotAdmitted as refused:
        assert not trusted
        assert refused.status == 401
    else:
        assert trusted
        assert person is not None


@pytest.mark.parametrize("address", ["10.1.0.7", "::ffff:10.1.0.7", "fd00::7", "fd00::7%eth0"])
def test_the_proxy_is_known_by_each_way_to_write_its_address(address: str) -> None:
    found = from_proxy(PROXY, headers(x_forwarded_email="Ada@Stall.example", x_forwarded_groups="sellers, buyers ,"), address)
    assert found == Person("ada@stall.example", frozenset({"sellers", "buyers"}), "proxy")


@pytest.mark.parametrize("address", ["10.1.1.7", "127.0.0.1", "::1", "testclient", "", None, "10.1.0.7, 1.2.3.4"])
def test_a_header_from_elsewhere_is_forged(address: str | None) -> None:
    with pytest.raises(NotAdmitted, match="came from another address"):
        from_proxy(PROXY, headers(x_forwarded_email="ada@stall.example"), address)


@pytest.mark.parametrize("name", [b"x-forwarded-email", b"x-forwarded-groups"])
def test_a_header_that_is_there_twice_is_refused(name: bytes) -> None:
    sent = [(b"x-forwarded-email", b"ada@stall.example"), (name, b"eve@stall.example"), (b"X-Forwarded-Groups", b"sellers")]
    with pytest.raises(NotAdmitted, match="2 times, where one is expected"):
        from_proxy(PROXY, sent, "10.1.0.7")


def test_who_is_not_named_is_nobody() -> None:
    assert from_proxy(PROXY, [], "10.1.0.7") is None
    assert from_proxy(PROXY, headers(x_forwarded_email=""), "10.1.0.7") is None


def test_the_identity_has_the_name_that_the_audit_shows() -> None:
    roles = {Role.EDITOR: Members(people=("*@Stall.Example",))}
    assert admitted(Person("a@stall.example", frozenset(), "jwt", 9.0), roles) == Identity(
        "a@stall.example", Role.EDITOR, "jwt", 9.0
    )
    assert role_of(Person("x@y@stall.example", frozenset(), "jwt"), roles) is None
    assert role_of(Person("@stall.example", frozenset(), "jwt"), roles) is None
    assert role_of(Person("stall.example", frozenset(), "jwt"), roles) is None


def test_the_settings_of_the_tests_are_settings() -> None:
    from tests.runtime.access.conftest import SETTINGS

    assert AccessSettings.model_validate(SETTINGS).proxy is not None
