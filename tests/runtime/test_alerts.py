"""Alerts as they are declared, listed and kept; and the private parts of Dagster that they rest on."""

import json
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from typer.testing import CliRunner

from caudal.cli import app
from caudal.environment import NoSecret, secret
from caudal.runtime.alerts.book import CATCH_UP_S, CAUSES_OF_ONE_SUBJECT, KEEP_S, Book
from caudal.runtime.alerts.component import Alerts, declared_alerts
from caudal.runtime.alerts.conditions import is_late
from caudal.runtime.alerts.database import UnknownAlerts
from caudal.runtime.alerts.facts import Ended, Facts, Problem, Quarantined, Target, normalized
from caudal.runtime.alerts.outbox import Outbox
from caudal.runtime.alerts.settings import Growth, Settings

NOW = 1_700_000_000.0
HOUR = 3600.0


# Causes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("part 17 of /tmp/abc/x.parquet is broken", "part 1 of /data/y/z.parquet is broken"),
        (
            "run 3f2504e0-4f89-11d3-9a0c-0305e82c3301 timed out after 12.5 s",
            "run 8c0e2f5a-11d3-4f89-9a0c-0305e82c3301 timed out after 60 s",
        ),
        ("late since 2024-01-01T10:00:00Z at 0x7f3a", "late since 2025-12-31T23:59:59Z at 0x11"),
        ("GET https://a.example/1?x=2 refused", "GET https://b.example/2 refused"),
    ],
)
def test_what_differs_each_time_makes_no_other_cause(one, other):
    assert normalized(one) == normalized(other)


def test_names_make_another_cause():
    assert normalized("column 'units' is missing") != normalized("column 'amount' is missing")


# The book -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(env):
    return Book.of(env)


def failed(subject, run, at_s=NOW, detail="disk full", **more):
    problem = Problem("run", subject, detail, occurrence=run, at_s=at_s, targets=(Target(subject),), **more)
    return Ended(run, at_s, problems=(problem,))


def late(subject, *upstream):
    return Problem("late", subject, "old", cause="late", upstream=frozenset({subject, *upstream}))


def seen(book):
    return [(i.kind, i.subject, i.count) for i in reversed(book.incidents())]


def test_many_different_errors_of_one_subject_are_not_as_many_messages(book):
    for number in range(20):
        name = chr(ord("a") + number)
        book.look(Facts(ended=[failed("m", str(number), detail=f"column {name} is missing")]), Settings(), NOW)
    assert len(book.incidents()) == CAUSES_OF_ONE_SUBJECT
    assert sum(incident.count for incident in book.incidents()) == 20


def test_lateness_that_follows_from_lateness_is_one_incident(book):
    holding = {"late": [late("c", "b", "a"), late("b", "a"), late("a"), late("x")]}
    book.look(Facts(holding=holding), Settings(), NOW)
    assert seen(book) == [("late", "a", 1), ("late", "x", 1)]
    assert [i.also for i in reversed(book.incidents())] == [("b", "c"), ()]
    book.look(Facts(holding={"late": [late("c", "b", "a"), late("x")]}), Settings(), NOW + 60)
    assert seen(book) == [("late", "x", 1)]  # c may catch up
    book.look(Facts(holding={"late": [late("c", "b", "a"), late("x")]}), Settings(), NOW + 61 + CATCH_UP_S)
    assert seen(book) == [("late", "x", 1), ("late", "c", 1)]


def test_a_failed_blocking_check_holds_the_lateness_below_it(book):
    check = Problem("check", "a: positive", "-1", cause="failed", targets=(Target("a"),), blocks=True)
    book.look(Facts(holding={"check": [check], "late": [late("b", "a")]}), Settings(), NOW)
    assert seen(book) == [("check", "a: positive", 1)]


def test_people_are_reminded_of_what_lasts_at_the_declared_intervals(book):
    settings = Settings(remind_hours=(1.0, 24.0))
    outbox = Outbox(book)

    def deliver(now):
        while claim := outbox.claim("log", now):
            outbox.sent(claim, now)
            told.append((round((now - NOW) / HOUR, 2), claim.occasion))

    told = []
    for quarter in range(4 * 60):
        now = NOW + quarter * HOUR / 4
        book.look(Facts(holding={"late": [late("a")]}), settings, now)
        deliver(now)
    assert told == [(0.0, "opened"), (1.0, "reminder"), (25.0, "reminder"), (49.0, "reminder")]


def test_nobody_is_reminded_of_a_run_that_has_not_failed_again(book):
    book.look(Facts(ended=[failed("a", "1")]), Settings(), NOW)
    outbox = Outbox(book)
    outbox.sent(outbox.claim("log", NOW), NOW)
    book.look(Facts(), Settings(), NOW + 100 * HOUR)
    assert outbox.unsent() == 0
    book.look(Facts(ended=[failed("a", "2", NOW + 100 * HOUR)]), Settings(), NOW + 100 * HOUR)
    assert outbox.unsent() == 1


def test_what_does_not_exist_any_more_is_over(book):
    step = Problem("run", "nightly / step", "x", occurrence="2", at_s=NOW, targets=(Target("step:nightly/step"),))
    facts = Facts(ended=[failed("a", "1"), Ended("2", NOW, problems=(step,))], declared=frozenset({"a", "job:nightly"}))
    book.look(facts, Settings(), NOW)
    assert len(book.incidents()) == 2
    book.look(Facts(declared=frozenset({"b"})), Settings(), NOW + 1)
    assert book.incidents() == []
    assert {i.resolution for i in book.incidents(resolved=True)} == {"It does not exist any more"}


def test_two_looks_at_the_same_runs_count_them_once(book):
    facts = Facts(ended=[failed("a", "1"), failed("a", "2")], known={"1": NOW, "2": NOW})
    for _ in range(2):
        book.look(facts, Settings(), NOW)
    assert seen(book) == [("run", "a", 2)]


def test_a_success_before_the_failure_does_not_end_it(book):
    book.look(Facts(ended=[failed("a", "1", NOW)]), Settings(), NOW)
    book.look(Facts(ended=[Ended("0", NOW - 1, made={"a": frozenset({""})})]), Settings(), NOW)
    assert len(book.incidents()) == 1


def test_what_is_long_over_is_forgotten(book):
    book.look(Facts(ended=[failed("a", "1")], declared=frozenset({"a"})), Settings(), NOW)
    book.look(Facts(declared=frozenset()), Settings(), NOW)
    assert len(book.incidents(resolved=True)) == 1
    book.look(Facts(), Settings(), NOW + KEEP_S + 1)
    assert book.incidents(resolved=True) == []


def test_a_book_of_a_newer_platform_is_refused(env, book):
    import sqlite3

    with sqlite3.connect(book.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UnknownAlerts, match="version 99"):
        Book.of(env)


# Quarantine ---------------------------------------------------------------------------------------------------------------


def grow(book, settings, *looks):
    """Each look: (hours, rejected rows, files, rows read). Which of them found an open incident."""
    found = []
    for hours, rows, files, read in looks:
        facts = Facts(quarantine=[Quarantined("pos/sales", rows, files, read)])
        book.look(facts, settings, NOW + hours * HOUR)
        found.append(len(book.incidents()))
    return found


def test_a_quarantine_is_measured_from_what_it_was_at_the_first_look(book):
    settings = Settings(growth=Growth(rows=100, files=0))
    looks = (0, 5000, 7, 9000), (1, 5100, 7, 9100), (2, 5101, 7, 9101), (3, 5000, 7, 9101), (4, 5000, 8, 9101)
    assert grow(book, settings, *looks) == [0, 0, 1, 0, 1]


def test_a_dataset_that_is_new_starts_from_nothing(book):
    book.look(Facts(quarantine=[]), Settings(), NOW)
    assert grow(book, Settings(growth=Growth(rows=10)), (0.1, 11, 0, 1000)) == [1]


def test_a_quarantine_that_grows_no_more_is_told_so_and_is_the_new_normal(book):
    settings = Settings(growth=Growth(rows=10, files=None), window_hours=24)
    looks = (
        (0, 0, 0, 0),
        (1, 50, 0, 100),
        (20, 60, 0, 200),
        (43, 60, 0, 300),
        (45, 60, 0, 300),
        (46, 65, 0, 400),
        (47, 80, 0, 500),
    )
    assert grow(book, settings, *looks) == [0, 1, 1, 1, 0, 0, 1]
    assert [i.count for i in book.incidents(resolved=True)] == [1, 2]


def test_slow_growth_below_the_limit_in_each_window_is_no_incident(book):
    settings = Settings(growth=Growth(rows=10, files=None), window_hours=24)
    assert grow(book, settings, *((12 * n, 4 * n, 0, 1000 * n) for n in range(20))) == [0] * 20


def test_a_share_of_the_rows_read_meanwhile_may_be_the_limit(book):
    settings = Settings(growth=Growth(rows=None, files=None, share=0.05))
    assert grow(book, settings, (0, 0, 0, 0), (1, 4, 0, 100), (2, 12, 0, 200)) == [0, 0, 1]


# Declaring ----------------------------------------------------------------------------------------------------------------

DECLARED = """
channels:
  - {name: slack, variable: SLACK_URL}
  - {name: oncall, file: secrets/oncall}
routes:
  - {owners: ["team:data-*"], channels: [slack]}
  - {owners: ["ann@example.com"], channels: [oncall, log], kinds: [run, late]}
default: [slack, log]
warnings: true
remind_hours: [2, 12]
quarantine:
  - {rows: 10, share: 0.01}
  - {dataset: pos/transactions, rows: 0, files: -1}
"""


def test_a_company_declares_who_is_told_in_yaml(env):
    settings = Alerts.resolve_from_yaml(DECLARED).settings(env)
    assert sorted(settings.channels) == ["log", "oncall", "slack"]
    assert settings.channels["oncall"].file == env.root / "secrets/oncall"
    assert settings.channels_for("check", ["ann@example.com"]) == ("slack", "log")
    assert settings.channels_for("late", ["ann@example.com", "team:data-lake"]) == ("slack", "oncall", "log")
    assert settings.growth == Growth(10, 0, 0.01)
    assert settings.growth_of == {"pos/transactions": Growth(0, None, None)}
    assert settings.ui_url == "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("channels: [{name: slack, url: 'slack://s3cr3t/t0k/en'}]", "holds an address, which is a secret"),
        ("channels: [{name: slack, variable: 'https://hooks.slack.com/s3cr3t'}]", "holds an address, which is a secret"),
        ("channels: [{name: slack, file: 'mailto://me:s3cr3t@x'}]", "holds an address, which is a secret"),
        ("channels: [{name: slack, variable: 'xoxb-s3cr3t'}]", "must be the name of an environment variable"),
        ("channels: [{name: slack}]", "needs either `variable` or `file`"),
        ("channels: [{name: log, variable: X}]", "is always there"),
        ("channels: [{name: a, variable: X}, {name: a, variable: Y}]", "same name"),
        ("default: [pager]", "no channel `pager`; declared are: log"),
        ("default: []", "names no channel"),
        ("routes: [{owners: [x], channels: [log], kinds: [fire]}]", "expected some of: run, check"),
        ("remind_hours: [0]", "must be more than 0"),
        ("quarantine: [{share: 2}]", "expected 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_without_repeating_a_secret(env, declared, problem):
    with pytest.raises(ValueError, match=problem) as refused:
        Alerts.resolve_from_yaml(declared).settings(env)
    assert "s3cr3t" not in str(refused.value)


def test_alerts_are_declared_once_or_not_at_all():
    class Tree:
        def __init__(self, *found):
            self.found = list(found)

        def get_all_components(self, of_type):
            assert of_type is Alerts
            return self.found

    assert declared_alerts(Tree()) is None
    with pytest.raises(ValueError, match="declared twice"):
        declared_alerts(Tree(Alerts(), Alerts()))


def test_a_secret_is_read_from_its_variable_or_file_and_missed_by_name(tmp_path, monkeypatch):
    file = tmp_path / "url"
    file.write_text("json://x\n")
    monkeypatch.setenv("MY_URL", " json://y ")
    assert (secret(file=file), secret("MY_URL")) == ("json://x", "json://y")
    with pytest.raises(NoSecret, match="variable NOT_SET is not set"):
        secret("NOT_SET")
    with pytest.raises(NoSecret, match="cannot be read, or is empty"):
        secret(file=tmp_path / "none")


# The command line ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def caudal(env, monkeypatch):
    monkeypatch.setenv("CAUDAL_DATA", str(env.data))
    return lambda *arguments: CliRunner().invoke(app, ["alerts", *arguments])


def test_incidents_are_listed_and_closed_by_hand(caudal, env):
    assert "has not run" in caudal().output
    book = Book.of(env)
    assert caudal().output == "no incident is open\n"
    book.look(
        Facts(ended=[failed("marts/daily", "1", time.time(), link="/runs/1", owners=("team:a",))]), Settings(), time.time()
    )
    shown = caudal().output
    assert "marts/daily" in shown
    assert "team:a" in shown
    assert "http://127.0.0.1:3000/runs/1" in shown
    assert caudal("close", "1").exit_code == 0
    assert caudal().output == "no incident is open\n"
    assert "over" in caudal("--all").output
    again = caudal("close", "1")
    assert (again.exit_code, "no open incident 1" in again.output) == (2, True)


def test_a_test_message_goes_to_each_channel(caudal, monkeypatch):
    monkeypatch.setattr("caudal.runtime.location.component_tree", lambda _env: None)
    declared = Alerts.resolve_from_yaml("channels: [{name: pager, variable: NOT_SET}]")
    monkeypatch.setattr("caudal.runtime.alerts.component.settings_of", lambda _tree, env: declared.settings(env))
    done = caudal("test")
    assert done.exit_code == 1
    assert "log: sent" in done.output
    assert "pager: the environment variable NOT_SET is not set" in done.output


# Dagster ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
        dg.FreshnessPolicy.cron("0 9 * * *", timedelta(hours=2), "America/New_York"),
    ],
)
def test_a_freshness_policy_is_applied_as_dagsters_own_daemon_does(policy, monkeypatch):
    import asyncio

    from dagster._core.definitions.freshness import FreshnessState
    from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE as EVALUATORS
    from dagster._time import get_current_datetime, get_current_timestamp

    assert callable(get_current_datetime)
    assert callable(get_current_timestamp)

    @dg.asset(freshness_policy=policy)
    def watched():
        pass

    graph = dg.Definitions([watched]).get_repository_def().asset_graph
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([watched], instance=instance)
        made = instance.get_latest_materialization_event(watched.key).timestamp

        class Context:
            pass

        for hours in (0.5, 0.99, 1.01, 5, 9, 14, 20, 23, 26, 30, 50):
            now = made + hours * HOUR
            module = "dagster._core.definitions.freshness_evaluator"
            monkeypatch.setattr(f"{module}.get_current_timestamp", lambda now=now: now)
            monkeypatch.setattr(
                f"{module}.get_current_datetime",
                lambda tz="UTC", now=now: datetime.fromtimestamp(now, UTC).astimezone(zone(tz)),
            )

            async def record(*_args):
                return instance.get_asset_records([watched.key])[0]

            monkeypatch.setattr(f"{module}.AssetRecord.gen", record)
            state = asyncio.run(EVALUATORS[type(policy)]().evaluate_freshness(Context(), graph.get(watched.key)))
            assert is_late(policy, made, now) == (state == FreshnessState.FAIL), hours


def zone(name):
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def test_the_private_parts_of_dagster_that_alerts_and_metrics_use_are_there():
    """An upgrade that fails here: see what took their place, and that `runs`, `conditions` and `metrics` still mean the same."""
    from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
    from dagster._core.definitions.freshness import FreshnessState
    from dagster._core.storage.event_log.base import EventLogStorage
    from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
    from dagster._daemon.freshness import FreshnessDaemon

    assert IMPLICIT_ASSET_JOB_NAME == "__ASSET_JOB"
    assert (WILL_RETRY_TAG, AUTO_RETRY_RUN_ID_TAG) == ("dagster/will_retry", "dagster/auto_retry_run_id")
    assert FreshnessDaemon.daemon_type() == "FRESHNESS_DAEMON"
    assert {"PASS", "WARN", "FAIL"} <= {state.value for state in FreshnessState}
    for name in (
        "get_asset_partitions_for_run",
        "get_latest_asset_check_execution_by_key",
        "get_asset_check_summary_records",
        "get_freshness_state_records",
    ):
        assert callable(getattr(EventLogStorage, name)), f"EventLogStorage.{name} is gone"
    for name in ("get_asset_event_summary_records", "get_daemon_heartbeats", "all_instigator_state", "get_asset_keys"):
        assert callable(getattr(dg.DagsterInstance, name)), f"DagsterInstance.{name} is gone"
    assert json.dumps(sorted(k.value for k in dg.DagsterEventType if "PLANNED" in k.value)) == json.dumps(
        ["ASSET_CHECK_EVALUATION_PLANNED", "ASSET_MATERIALIZATION_PLANNED"]
    )
