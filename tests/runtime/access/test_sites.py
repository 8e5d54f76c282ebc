"""Single-user mode: the person at this machine, and no page that this person's browser happens to show."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from caudal.runtime.access.sites import cross_site, host_of, is_loopback, origin_of

if TYPE_CHECKING:
    from tests.runtime.access.conftest import Stall

#: The test client calls every server by one name on websockets.
HOST = {"host": "127.0.0.1:3000"}
MUTATION = "mutation { setAutoMaterializePaused(paused: false) }"


def test_the_person_at_this_machine_needs_no_sign_in_and_may_do_everything_under_the_accounts_name(
    stall: Stall, ask: Callable[..., Any]
) -> None:
    assert stall.alone().get("/").status_code == 200
    assert ask(stall.alone(), MUTATION).json() == {"data": {"setAutoMaterializePaused": False}}
    first, last = stall.audit
    assert (first["who"], first["role"], first["by"], first["address"]) == (getpass.getuser(), "admin", "loopback", "127.0.0.1")
    assert (last["id"], last["outcome"]) == (first["id"], "succeeded")


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", "127.9.9.9", "LOCALHOST:80"])
def test_each_name_of_loopback_is_this_webserver(stall: Stall, host: str, ask: Callable[..., Any]) -> None:
    client = stall.alone(host=host.lower(), host_header=host, origin=f"http://{host.lower()}")
    assert ask(client, "{ version }").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7:3000", "", "127.0.0.1@evil.example"],
)
def test_a_name_that_leads_here_by_somebody_elses_dns_gets_nothing(stall: Stall, host: str) -> None:
    client = stall.alone()
    for answer in (
        client.get("/", headers={"host": host}),
        client.post("/graphql", json={"query": MUTATION}, headers={"host": host, "origin": f"http://{host}"}),
    ):
        assert answer.status_code == 403
        assert "localhost and 127.0.0.1 only" in answer.text
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/graphql", headers={"host": host}):
        pytest.fail("the websocket was accepted")
    assert stall.audit == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8888"},  # another server of this machine, such as a notebook's
        {"origin": "http://localhost.evil.example:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:3000"},
        {"sec-fetch-site": "something new"},
    ],
)
def test_a_page_of_another_site_changes_nothing_and_listens_to_nothing(stall: Stall, headers: dict[str, str]) -> None:
    client = stall.alone(**headers)
    answer = client.post("/graphql", json={"query": MUTATION})
    assert answer.status_code == 403
    assert "page of" in answer.text
    assert client.post("/report_asset_materialization/forged").status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/graphql", headers=HOST):
        pytest.fail("the websocket was accepted")
    assert stall.audit == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:3000"},
        {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:3000"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_its_own_pages_and_programs_change_things(stall: Stall, ask: Callable[..., Any], headers: dict[str, str]) -> None:
    assert ask(stall.alone(**headers), MUTATION).status_code == 200
    with stall.alone(**headers).websocket_connect("/graphql", subprotocols=["graphql-ws"], headers=HOST) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}


def test_whoever_comes_from_another_machine_is_refused_even_if_the_door_stood_open(stall: Stall) -> None:
    assert stall.alone(address="192.168.0.9").get("/").status_code == 403


def test_behind_a_proxy_that_changes_the_host_the_configured_origin_is_its_own(stall: Stall, ask: Callable[..., Any]) -> None:
    from tests.runtime.access.conftest import SETTINGS

    named = SETTINGS | {"origins": ["https://caudal.example"]}
    assert ask(stall.client("admin", origin="https://caudal.example"), MUTATION).status_code == 403
    assert ask(stall.client("admin", settings=named, origin="https://caudal.example"), MUTATION).status_code == 200
    assert ask(stall.client("admin", settings=named, origin="https://evil.example"), MUTATION).status_code == 403


@given(st.text(), st.one_of(st.none(), st.text()))
def test_no_origin_makes_the_check_fail_itself(text: str, host: str | None) -> None:
    host_of(text)
    is_loopback(text)
    found = origin_of(text)
    assert found is None or origin_of(found) == found
    assert cross_site(site=None, origin=text, host=host, origins=()) is None or text != f"http://{host}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.1.2.3", True), ("::1", True), ("[::1]", True), ("::ffff:127.0.0.1", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "", "10.0.0.1", "localhost.", "127.0.0.1.nip.io", "2130706433", "0x7f.1")],
)
def test_loopback_is_told_from_everything_else(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
