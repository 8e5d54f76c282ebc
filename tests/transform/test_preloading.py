"""A process that dbt is forked from: ready, and as it was. And what is relied on in dbt and dbt-duckdb."""

import inspect
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from importlib.metadata import version

import duckdb
import pytest

from caudal.forking import client
from caudal.transform import dbt_child, dbt_process, dbt_speed, preloading
from caudal.transform.build import build
from caudal.transform.project import SERIALIZED


def in_a_new_process(program: str, *arguments: object) -> dict:
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_preloading_reads_the_manifest_and_leaves_nothing_behind(unchanged, manifest):
    found = in_a_new_process(
        """
        import json, os, psutil, sys, threading, time
        from pathlib import Path
        from caudal.transform import dbt_child
        from caudal.transform.preloading import preload
        from caudal.transform.project import Project, prepare_manifest
        prepare_manifest(Project(Path(sys.argv[1]), Path(sys.argv[2])))
        variables, folder = dict(os.environ), os.getcwd()
        preload()
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.adapters.factory import FACTORY
        from dbt_common.events.event_manager_client import get_event_manager
        this = psutil.Process()
        print(json.dumps({
            "preloaded": list(dbt_child.PRELOADED),
            "adapters": list(FACTORY.adapters),
            "database": DuckDBConnectionManager._ENV is not None,
            "threads": threading.active_count(),
            "processes": len(this.children()),
            "files": [file.path for file in this.open_files()],
            "heard": len(get_event_manager().callbacks) + len(get_event_manager().loggers),
            "environment": dict(os.environ) == variables and os.getcwd() == folder,
        }))
        """,
        unchanged.folder,
        unchanged.state,
    )
    assert found == {
        "preloaded": [str(manifest.path.with_name(SERIALIZED))],
        "adapters": [],
        "database": False,
        "threads": 1,
        "processes": 0,
        "files": [],
        "heard": 0,
        "environment": True,
    }


def test_a_project_that_cannot_be_rehearsed_is_told_and_the_process_goes_on(unchanged, manifest, monkeypatch, caplog):
    monkeypatch.setattr(preloading, "prepared", lambda: [(replace(unchanged, target="nowhere"), manifest.path)])
    preloading.preload()
    assert dbt_child.PRELOADED == {}
    assert f"{unchanged.folder} could not be rehearsed" in caplog.text
    assert "does not have a target named 'nowhere'" in caplog.text


def test_a_refused_fork_is_told_and_dbt_runs_as_a_new_interpreter(unchanged, manifest, warehouse, monkeypatch, caplog):
    def refuse(*_, **__):
        raise client.ForkingFailed("it imports something else just now")

    monkeypatch.setattr(dbt_process.client, "fork", refuse)
    result = build(unchanged, manifest, database=warehouse(), select=["tariffs"])
    assert result.passed == ("seed.stall.tariffs",)
    assert "seconds longer: it imports something else just now" in caplog.text


def test_after_the_trusted_extension_no_unverified_one_can_be_loaded(env, tmp_path):
    from caudal.warehouse import engine

    (delta,) = engine.verified_extensions(env)
    forged = tmp_path / "forged.duckdb_extension"
    forged.write_bytes(delta.read_bytes()[:-10] + b"\0" * 10)
    with engine.connect_file(env, tmp_path / "warehouse.duckdb") as connection:
        loaded = "SELECT count(*) FROM duckdb_extensions() WHERE loaded AND extension_name = 'delta'"
        assert connection.execute(loaded).fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="signature"):
            connection.execute(f"LOAD '{forged}'")
        with pytest.raises(duckdb.Error, match="while database is running"):
            connection.execute("SET allow_unsigned_extensions = true")


def test_an_extension_is_verified_again_when_its_file_is_another_one(env, tmp_path, monkeypatch):
    from caudal.warehouse import engine

    (delta,) = engine.verified_extensions(env)
    forged = tmp_path / delta.name
    forged.write_bytes(delta.read_bytes()[:-10] + b"\0" * 10)
    monkeypatch.setattr(engine, "_installed", lambda *_: forged)
    with pytest.raises(duckdb.Error, match="signature"):
        engine.verified_extensions(env)


def test_what_is_relied_on_in_dbt_is_as_it_was():
    advice = "dbt_speed and preloading reach into dbt: look at what they say about this, and try what they save"
    assert version("dbt-core").startswith("1.11."), advice
    assert version("dbt-duckdb").startswith("1.11."), advice
    dbt_speed.before_import()
    import dbt.mp_context
    from dbt.adapters.base.connections import BaseConnectionManager
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.adapters.duckdb.environments import Environment, local
    from dbt.plugins.manager import PluginManager
    from dbt_common.clients.jinja import template_cache
    from dbt_common.events import event_manager_client
    from dbt_common.events.event_manager import EventManager

    assert dbt.mp_context.get_mp_context().get_start_method() == "fork", advice
    assert "mp_context.RLock()" in inspect.getsource(BaseConnectionManager.__init__), advice
    assert list(inspect.signature(Environment.initialize_db).parameters) == ["creds", "plugins"], advice
    assert "self.initialize_db(self.creds" in inspect.getsource(local.LocalEnvironment.handle), advice
    assert DuckDBCredentials(schema="s").keep_open is True, advice
    assert callable(DuckDBConnectionManager.close_all_connections), advice
    assert "for name, module in" in inspect.getsource(PluginManager.from_modules), advice
    assert callable(template_cache.get_node_template), advice
    given = list(inspect.signature(EventManager.fire_event).parameters)
    assert given == ["self", "e", "level", "node", "force_warn_or_error_handling"], advice
    assert callable(event_manager_client.ctx_set_event_manager), advice


def test_of_the_debug_log_only_what_is_heard_is_written(monkeypatch):
    from dbt.events.types import MainReportVersion
    from dbt_common.events import event_manager_client
    from dbt_common.events.base_types import EventLevel

    monkeypatch.setattr(event_manager_client, "_EVENT_MANAGER", None)
    dbt_speed.drop_unheard_events()
    events = event_manager_client.get_event_manager()
    heard = []
    events.add_callback(lambda message: heard.append(message.info.name))
    events.fire_event(MainReportVersion(version="1", log_version=3), level=EventLevel.DEBUG)
    assert heard == []
    events.fire_event(MainReportVersion(version="1", log_version=3))
    assert heard == ["MainReportVersion"]


def test_a_manifest_that_was_not_preloaded_is_read(manifest):
    assert dbt_child.PRELOADED == {}
    read = dbt_child._manifest(str(manifest.path.with_name(SERIALIZED)))
    assert "model.stall.sales" in read.nodes
    assert os.path.isfile(manifest.path)
