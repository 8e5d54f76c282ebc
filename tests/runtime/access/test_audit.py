"""What is written down of a mutation: who, what, when, on what, with what outcome, and no secret."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.runtime.access.audit import Audit, AuditUnavailable
from caudal.runtime.access.redaction import HIDDEN, LIMIT_RECORD_CHARACTERS, redacted, targets

if TYPE_CHECKING:
    from tests.runtime.access.conftest import Stall

LAUNCH = (
    "mutation L($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess { run { id } } } }"
)


def test_a_launched_run_is_written_down_before_and_after_with_its_id(stall: Stall, ask: Callable[..., Any]) -> None:
    params = {
        "selector": {"repositoryLocationName": "stall", "repositoryName": "__repository__", "jobName": "sell"},
        "runConfigData": json.dumps({"ops": {"weigh": {"config": {"price": 424242}}}}),
        "executionMetadata": {"tags": [{"key": "db_password", "value": "hunter2"}, {"key": "team", "value": "north"}]},
    }
    client = stall.client("editor", **{"x-forwarded-for": "203.0.113.9"})
    run_id = ask(client, LAUNCH, {"p": params}).json()["data"]["launchRun"]["run"]["id"]
    first, last = stall.audit
    assert {
        key: first[key] for key in ("who", "role", "by", "address", "forwarded_for", "what", "target", "outcome", "how")
    } == {
        "who": "edda@stall.example",
        "role": "editor",
        "by": "proxy",
        "address": "10.1.0.7",
        "forwarded_for": "203.0.113.9",
        "what": "launchRun",
        "target": ["job:sell", "location:stall"],
        "outcome": "asked",
        "how": "POST application/json",
    }
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first["at"])).total_seconds()) < 60
    assert first["arguments"]["executionParams"]["runConfigData"] == {"ops": {"weigh": {"config": {"price": HIDDEN}}}}
    assert first["arguments"]["executionParams"]["executionMetadata"]["tags"] == [
        {"key": "db_password", "value": HIDDEN},
        {"key": "team", "value": "north"},
    ]
    assert (last["id"], last["outcome"], last["result"], last["run"]) == (first["id"], "succeeded", "LaunchRunSuccess", run_id)
    assert "hunter2" not in json.dumps(stall.audit)
    assert "424242" not in json.dumps(stall.audit)


def test_a_mutation_that_dagster_does_not_do_has_failed(stall: Stall, ask: Callable[..., Any]) -> None:
    ask(stall.client("admin"), 'mutation { deleteRun(runId: "none") { __typename } }')
    assert [(line["outcome"], line.get("target"), line.get("result")) for line in stall.audit] == [
        ("asked", ["run:none"], None),
        ("failed", None, "RunNotFoundError"),
    ]


def test_what_cannot_be_written_down_is_not_done(
    stall: Stall, ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("caudal.runtime.access.audit.os.write", full)
    before = stall.snapshot()
    mutation = 'mutation { reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["x"]}}) { __typename } }'
    answer = ask(stall.client("admin"), mutation)
    assert answer.status_code == 503
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "AUDIT_UNAVAILABLE"
    assert "nothing is changed that cannot be written to the audit" in error["message"]
    assert str(stall.env.data) not in answer.text
    assert stall.client("admin").post("/report_asset_materialization/x").status_code == 503
    assert ask(stall.client("viewer"), mutation).status_code == 403
    assert ask(stall.client("viewer"), "{ version }").status_code == 200
    monkeypatch.undo()
    assert stall.snapshot() == before


def test_a_disk_that_takes_half_a_line_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path / "audit")
    audit.write({"what": "first"})
    write = os.write
    monkeypatch.setattr("caudal.runtime.access.audit.os.write", lambda file, line: write(file, line[: len(line) // 2]))
    with pytest.raises(AuditUnavailable, match=r"mutations.jsonl cannot be written: the disk is full"):
        audit.write({"what": "second"})
    monkeypatch.undo()
    audit.write({"what": "third"})
    assert [line["what"] for line in audit.records()] == ["first", "third"]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.write({"what": "first"})
    with audit.path.open("a") as file:
        file.write('{"what": "cut')
    audit.write({"what": "second"})
    assert [line["what"] for line in audit.records()] == ["first", "second"]


def test_only_the_account_of_the_webserver_reads_the_audit(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit")
    audit.write({"what": "x"})
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(audit.folder.stat().st_mode) == 0o700


def test_the_audit_is_not_led_elsewhere_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    audit = Audit(tmp_path / "audit")
    audit.folder.mkdir()
    audit.path.symlink_to(tmp_path / "victim")
    with pytest.raises(AuditUnavailable):
        audit.write({"what": "x"})
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_large_file_is_put_aside_and_the_oldest_are_removed(tmp_path: Path) -> None:
    audit = Audit(tmp_path, rotate_bytes=100, keep_files=3)
    for number in range(12):
        audit.write({"number": number, "filling": "x" * 100})
    assert len(list(tmp_path.iterdir())) == 4
    assert [line["number"] for line in audit.records()] == [8, 9, 10, 11]


def test_processes_that_write_at_once_lose_no_line_though_files_are_put_aside(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from caudal.runtime.access.audit import Audit\n"
        f"audit = Audit(Path({str(tmp_path)!r}), rotate_bytes=2000, keep_files=1000)\n"
        "for number in range(60): audit.write({'who': sys.argv[1], 'number': number})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(who)]) for who in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    found = sorted((line["who"], line["number"]) for line in Audit(tmp_path).records())
    assert found == [(str(who), number) for who in range(2) for number in range(60)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=6))
def test_whatever_the_arguments_are_they_become_one_short_line(arguments: dict[str, Any]) -> None:
    line = json.dumps({"arguments": redacted(arguments), "target": targets(arguments)})
    assert "\n" not in line
    assert len(line) < 3 * LIMIT_RECORD_CHARACTERS


@given(
    st.sampled_from(
        ["password", "apiKey", "API_KEY", "access_token", "clientSecret", "Authorization", "private_key", "db_passwd"]
    ),
    st.lists(st.sampled_from(["a", "config", "executionParams", "tags"]), max_size=4),
)
def test_what_is_called_a_secret_is_hidden_at_any_depth(name: str, above: list[str]) -> None:
    value: Any = {name: "hunter2"}
    for key in above:
        value = [{key: value}]
    assert "hunter2" not in json.dumps(redacted({"x": value}))
    assert "hunter2" not in json.dumps(redacted({"tags": [{"key": name, "value": "hunter2"}]}))


@pytest.mark.parametrize(
    "arguments",
    [
        {"runConfigData": {"ops": {"a": {"config": {"x": "hunter2"}}}}},
        {"runConfigData": '{"ops": {"a": "hunter2"}}'},
        {"runConfigData": "ops:\n  a: hunter2"},
        {"attributes": "x: hunter2"},
        {"metadata": {"note": ["hunter2"]}},
        {"description": "see postgresql://caudal:hunter2@db/caudal"},
        {"cursor": "Authorization: Bearer hunter2"},
        {"x": {"tags": [{"key": "slack_token", "value": "hunter2"}]}},
    ],
)
def test_secrets_in_places_where_they_are_put_are_hidden(arguments: dict[str, Any]) -> None:
    assert "hunter2" not in json.dumps(redacted(arguments))


def test_what_a_mutation_aims_at_is_named() -> None:
    arguments = {
        "runIds": ["1", "2"],
        "backfillParams": {"assetSelection": [{"path": ["marts", "sales"]}], "selector": {"partitionSetName": "p"}},
        "sensorSelector": {"repositoryLocationName": "shop", "sensorName": "lake"},
        "assetPartitionRanges": [{"assetKey": {"path": ["raw"]}}],
        "runConfigData": {"runId": "no"},
    }
    expected = ["run:1", "run:2", "asset:marts/sales", "location:shop", "sensor:lake", "asset:raw"]
    assert targets(arguments) == expected
