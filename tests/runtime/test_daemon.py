"""The daemon's own parts: which there are, and when automation rests."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.asset_daemon import AssetDaemon

from caudal.runtime import automation
from caudal.runtime.automation import LIVELY_S, REST_S, RestingAssetDaemon
from caudal.runtime.daemon import daemons
from caudal.runtime.sensing import QuickSensorDaemon
from caudal.runtime.warm.monitor import WorkersDaemon
from caudal.runtime.warm.queue import WakingQueueDaemon

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    shutil.copy(REPOSITORY / "deploy" / "local" / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def test_the_daemon_does_all_that_the_instance_asks_for_and_four_things_in_its_own_way(instance: dg.DagsterInstance) -> None:
    made = daemons(instance)
    assert [each.daemon_type() for each in made] == instance.get_required_daemon_types()
    assert {QuickSensorDaemon, RestingAssetDaemon, WakingQueueDaemon, WorkersDaemon} < {type(each) for each in made}


def test_automation_ticks_while_there_is_news_and_a_while_after_and_then_once_a_minute(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ticks = [1000.0], []
    monkeypatch.setattr(automation.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(AssetDaemon, "_run_iteration_impl", lambda *_: ticks.append(now[0]))
    daemon = RestingAssetDaemon({}, 30)
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:

        def ticked(at_s: float) -> bool:
            now[0], before = at_s, len(ticks)
            daemon._run_iteration_impl(context, None, {}, None)
            return len(ticks) > before

        assert ticked(1000)
        assert ticked(1000 + LIVELY_S)
        assert not ticked(1000 + LIVELY_S + 5)
        assert not ticked(1000 + LIVELY_S + REST_S - 1)
        assert ticked(1000 + LIVELY_S + REST_S)
        assert not ticked(1000 + LIVELY_S + REST_S + 5)
        instance.report_runless_asset_event(dg.AssetMaterialization("loaf"))
        assert ticked(1000 + LIVELY_S + REST_S + 10)
        assert ticked(1000 + LIVELY_S + REST_S + 15)
