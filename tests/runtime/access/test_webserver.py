"""The webserver as a process: where it listens, whom it believes on a real socket, how it ends; metrics, and an expired sign-in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from caudal.runtime.access.__main__ import main as command
from caudal.runtime.access.door import EXPIRED
from caudal.runtime.access.server import build
from caudal.runtime.access.webserver import CannotServe, listening, main
from tests.services.servers import free_port

if TYPE_CHECKING:
    from tests.runtime.access.conftest import Stall

KEY = ec.generate_private_key(ec.SECP256R1())
ACCESS = """
jwt: {issuer: "https://sign-in.example", audience: caudal, keys_file: keys.json, algorithms: [ES256]}
proxy: {addresses: [10.1.0.7]}
roles:
  viewer: {people: ["*@stall.example"]}
  admin: {groups: [owners]}
metrics_token_file: metrics-token
"""


def token(name: str = "vera@stall.example", *groups: str, seconds: float = 60) -> str:
    claims = {
        "iss": "https://sign-in.example",
        "aud": "caudal",
        "exp": time.time() + seconds,
        "email": name,
        "groups": list(groups),
    }
    return jwt.encode(claims, KEY, "ES256", headers={"kid": "k"})


def write_access(folder: Path) -> Path:
    made: dict[str, Any] = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [made | {"kid": "k"}]}))
    (folder / "metrics-token").write_text("scrape-me\n")
    (folder / "access.yaml").write_text(ACCESS)
    return folder / "access.yaml"


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, trust_env=False, timeout=60)

    def audit(self) -> list[dict[str, Any]]:
        path = self.folder / "data" / "logs" / "audit" / "mutations.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    port = free_port()
    variables = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "CAUDAL_DATA": str(tmp_path / "data"),
        "CAUDAL_ACCESS": str(write_access(tmp_path)),
        "FORWARDED_ALLOW_IPS": "*",  # uvicorn would believe everybody's X-Forwarded-For
    }
    asked = [sys.executable, "-m", "caudal.runtime.access", "serve", "--workspace", str(tmp_path / "workspace.yaml")]
    process = subprocess.Popen([*asked, "--host", "127.0.0.1", "--port", str(port)], env=variables)
    found = Server(process, port, tmp_path)
    try:
        until = time.monotonic() + 180
        while True:
            assert process.poll() is None, "the webserver has ended"
            assert time.monotonic() < until, "the webserver does not answer"
            try:
                with found.http() as client:
                    if client.get("/health").status_code == 200:
                        break
            except httpx.TransportError:
                time.sleep(0.05)
        yield found
    finally:
        process.kill()
        process.wait(timeout=60)


def test_a_real_server_believes_tokens_and_no_header_of_a_stranger_and_ends_when_told(server: Server) -> None:
    mutation = {"query": "mutation { setAutoMaterializePaused(paused: false) }"}
    with server.http() as nobody:
        assert nobody.get("/").status_code == 401
        forged = {"x-forwarded-email": "vera@stall.example", "x-forwarded-for": "10.1.0.7", "forwarded": "for=10.1.0.7"}
        assert "came from another address" in nobody.get("/", headers=forged).text
        twice = [("authorization", f"Bearer {token()}"), ("authorization", f"Bearer {token('x@stall.example', 'owners')}")]
        assert "2 times" in nobody.get("/", headers=twice).text
        assert nobody.get("/metrics", headers={"authorization": "Bearer scrape-you"}).status_code == 401
        scraped = nobody.get("/metrics", headers={"authorization": "Bearer scrape-me"})
        assert (scraped.status_code, "# HELP caudal_" in scraped.text) == (200, True)
        assert nobody.get("/runs", headers={"authorization": "Bearer scrape-me"}).status_code == 401
    with server.http(authorization=f"Bearer {token()}") as viewer:
        assert "text/html" in viewer.get("/runs").headers["content-type"]
        assert viewer.post("/graphql", json={"query": "{ version }"}).status_code == 200
        assert viewer.post("/graphql", json=mutation).status_code == 403
    with server.http(authorization=f"Bearer {token('ada@other.example', 'owners')}") as admin:
        assert admin.post("/graphql", json=mutation).json() == {"data": {"setAutoMaterializePaused": False}}
    assert [(line["who"], line["outcome"]) for line in server.audit()] == [
        ("vera@stall.example", "refused"),
        ("ada@other.example", "asked"),
        ("ada@other.example", "succeeded"),
    ]
    assert server.audit()[0]["address"] == "127.0.0.1"
    address = f"ws://127.0.0.1:{server.port}/graphql"
    with pytest.raises(InvalidStatus, match="403"), connect(address, proxy=None):
        pytest.fail("the websocket was accepted")
    signed_in = {"Authorization": f"Bearer {token()}"}
    with connect(address, additional_headers=signed_in, subprotocols=["graphql-ws"], proxy=None) as open_websocket:  # ty: ignore
        open_websocket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(open_websocket.recv(timeout=60)) == {"type": "connection_ack"}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    with pytest.raises(httpx.TransportError):
        server.http().get("/health")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com"])
def test_without_a_sign_in_it_listens_on_loopback_only(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUDAL_ACCESS", raising=False)
    assert main(["--workspace", "none.yaml", "--host", host]) == 1
    told = capsys.readouterr().err
    assert "serves the person at this machine only" in told
    assert "Use --host 127.0.0.1, or let CAUDAL_ACCESS name an access.yaml" in told


def test_with_a_sign_in_it_listens_where_it_is_told(tmp_path: Path) -> None:
    with listening("0.0.0.0", 0, loopback_only=False) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
    with listening("localhost", 0, loopback_only=True) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")


def test_a_name_that_leads_elsewhere_is_not_loopback_though_it_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("0.0.0.0", 0))])
    with pytest.raises(CannotServe, match="which is not loopback"), listening("localhost", 0, loopback_only=True):
        pytest.fail("it listens")


def test_a_port_that_is_taken_is_told() -> None:
    with listening("127.0.0.1", 0, loopback_only=True) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        expected = pytest.raises(CannotServe, match=f"127.0.0.1, port {port} cannot be had: Address already in use")
        with expected, listening("127.0.0.1", port, loopback_only=True):
            pytest.fail("it listens")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "access.yaml"),
        ("roles: {admin: {people: [a@x]}}\n", "expected jwt or proxy"),
        ("proxy: {addresses: [0.0.0.0/0]}\nroles: {admin: {people: [a@x]}}\n", "0.0.0.0/0 is everybody"),
        ("proxy: {addresses: [10.0.0.1]}\nroles: {admin: {}}\n", "roles names nobody"),
        ("proxy: {addresses: [10.0.0.1]}\nroles: {owner: {people: [a@x]}}\n", "'viewer', 'editor' or 'admin'"),
        ("proxy: {addresses: [10.0.0.1]}\nrole: {}\nroles: {admin: {people: [a@x]}}\n", "role"),
        ("jwt: {issuer: i, audience: a, keys_url: 'http://x/keys'}\nroles: {admin: {people: [a@x]}}\n", "expected an https://"),
        ("jwt: {issuer: i, audience: a}\nroles: {admin: {people: [a@x]}}\n", "either keys_url or keys_file"),
        ("jwt: {issuer: i, audience: a, keys_file: k, algorithms: [HS256]}\nroles: {admin: {people: [a@x]}}\n", "RS256"),
        ("jwt: {issuer: i, audience: a, keys_file: k, algorithms: [none]}\nroles: {admin: {people: [a@x]}}\n", "RS256"),
        ("proxy: {addresses: [10.0.0.1]}\norigins: [caudal.example]\nroles: {admin: {people: [a@x]}}\n", "such as https://"),
    ],
)
def test_settings_that_would_let_in_the_wrong_people_stop_the_start(
    tmp_path: Path, text: str | None, problem: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("CAUDAL_ACCESS", str(path))
    assert main(["--workspace", "none.yaml", "--host", "127.0.0.1"]) == 1
    told = capsys.readouterr().err
    assert str(path) in told
    assert problem in told
    assert command(["check", str(path)]) == 1


def test_the_commands_say_what_the_settings_mean_and_what_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from caudal.runtime.access.audit import Audit

    assert command(["check", str(write_access(tmp_path))]) == 0
    assert capsys.readouterr().out == "viewer: *@stall.example\nadmin: group owners\n"
    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path / "data"))
    audit = Audit(tmp_path / "data" / "logs" / "audit")
    audit.write(
        {"who": "vera", "role": "viewer", "what": "deleteRun", "outcome": "refused", "target": ["run:1"], "reason": "no"}
    )
    audit.write({"who": "ada", "role": "admin", "what": "deleteRun", "outcome": "asked", "target": ["run:1"]})
    assert command(["audit"]) == 0
    assert [line.split("  ")[1:] for line in capsys.readouterr().out.splitlines()] == [
        ["vera", "viewer", "deleteRun", "refused", "run:1", "no"],
        ["ada", "admin", "deleteRun", "asked", "run:1"],
    ]
    assert command(["audit", "--refused", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["who"] == "vera"


def test_a_websocket_ends_with_the_sign_in(stall: Stall, tmp_path: Path) -> None:
    from caudal.runtime.access.settings import read_settings

    settings = read_settings(write_access(tmp_path))
    assert settings.jwt is not None
    short = settings.model_copy(update={"jwt": settings.jwt.model_copy(update={"leeway_s": 0.0})}).model_dump(mode="json")
    stall.app(short)
    client = stall.client(settings=short, authorization=f"Bearer {token(seconds=1.5)}")
    with client.websocket_connect("/graphql", subprotocols=["graphql-ws"]) as open_websocket:
        open_websocket.send_json({"type": "connection_init"})
        assert open_websocket.receive_json() == {"type": "connection_ack"}
        with pytest.raises(WebSocketDisconnect) as ended:
            open_websocket.receive_json()
    assert ended.value.code == EXPIRED


def test_metrics_are_those_of_the_instance_and_open_to_the_person_at_this_machine(
    stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    import caudal.runtime

    asked = []

    def render(instance: object, env: object) -> bytes:
        asked.append((instance, env))
        return b"caudal_runs 1\n"

    made = SimpleNamespace(render=render, CONTENT_TYPE="text/plain; version=0.0.4; charset=utf-8")
    monkeypatch.setitem(sys.modules, "caudal.runtime.metrics", made)
    monkeypatch.setattr(caudal.runtime, "metrics", made, raising=False)
    for client in (stall.alone(), stall.client("viewer")):
        answer = client.get("/metrics")
        assert (answer.text, answer.headers["content-type"]) == ("caudal_runs 1\n", made.CONTENT_TYPE)
    assert asked == [(stall.instance, stall.env)] * 2
    assert stall.client().get("/metrics").status_code == 401


def test_every_page_of_a_branch_s_environment_says_that_it_is_no_production(stall: Stall):
    here = {"base_url": "http://127.0.0.1:3000", "client": ("127.0.0.1", 40000)}
    pages = {}
    for name, env in (("production", stall.env), ("branch", stall.env.of_branch("fix/<vat>"))):
        answer = TestClient(build(stall.context, env, None), **here).get("/runs")
        pages[name] = answer.text
        assert answer.headers["content-security-policy"]
        assert len(answer.content) == int(answer.headers["content-length"])
    assert "Branch fix/&lt;vat&gt;: not production</div></body>" in pages["branch"]
    assert "not production" not in pages["production"]
