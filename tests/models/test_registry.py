import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace

import pytest

from caudal.environment import Environment
from caudal.models.registry import champion, latest_evaluation, promote, record_evaluation

PROCESS_TIMEOUT_S = 120


def record(env: Environment, text: str, model: str = "m"):
    return record_evaluation(env, model, text, {"rounds": 5}, {"wape": 0.2, "mase": float("nan")}, "Promoted: it is good.")


def in_process(env: Environment, script: str) -> subprocess.Popen:
    """Run `script` with `env` in a process of its own."""
    head = f"""
        from pathlib import Path
        from caudal.environment import Environment
        from caudal.models.registry import *
        env = Environment({env.name!r}, {env.company!r}, Path({str(env.root)!r}), Path({str(env.data)!r}))
    """
    source = textwrap.dedent(head) + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True)


def test_nothing_is_known_of_a_model_before_its_first_evaluation(env):
    assert latest_evaluation(env, "m") is None
    assert champion(env, "m") is None


def test_a_registry_that_does_not_exist_is_not_created_by_reading(tmp_path):
    env = Environment("local", "shop", tmp_path, tmp_path / "data")
    assert (latest_evaluation(env, "m"), champion(env, "m")) == (None, None)
    assert not env.registry.exists()


def test_the_evaluation_that_finished_last_is_the_latest(env):
    record(env, "first")
    second = record(env, "second")
    record(env, "of another model", model="n")
    assert latest_evaluation(env, "m") == second
    assert second.text == "second"


def test_an_evaluation_is_an_mlflow_run_with_parameters_errors_and_verdict(env):
    from mlflow.tracking import MlflowClient

    run_id = record(env, "text").run_id
    run = MlflowClient(tracking_uri=f"sqlite:///{env.registry}/mlflow.db").get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rounds": "5"}
    assert run.data.metrics == {"wape": 0.2}
    assert run.data.tags["verdict"] == "Promoted: it is good."


def test_promotions_are_numbered_and_the_last_one_is_the_champion(env):
    promote(env, "m", record(env, "first evaluation"), "first model")
    second = promote(env, "m", record(env, "second evaluation"), "second model")
    assert champion(env, "m") == second
    assert (second.version, second.model, second.evaluation) == (2, "second model", "second evaluation")
    assert champion(env, "n") is None


def test_an_unfinished_evaluation_is_never_read(env):
    finished = record(env, "finished")
    unfinished = in_process(
        env,
        """
        import os, signal
        from mlflow.tracking import MlflowClient
        MlflowClient.set_terminated = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
        record_evaluation(env, "m", "unfinished", {}, {}, "")
        """,
    )
    unfinished.communicate(timeout=PROCESS_TIMEOUT_S)
    assert unfinished.returncode == -signal.SIGKILL
    assert latest_evaluation(env, "m") == finished


@pytest.mark.parametrize("step", ["create_model_version", "set_registered_model_alias"])
def test_a_promotion_killed_before_its_last_step_leaves_the_champion_and_can_be_repeated(env, step):
    before = promote(env, "m", record(env, "old"), "old model")
    recorded = record(env, "new")
    killed = in_process(
        env,
        f"""
        import os, signal
        from mlflow.tracking import MlflowClient
        MlflowClient.{step} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
        promote(env, "m", RecordedEvaluation({recorded.run_id!r}, "new"), "new model")
        """,
    )
    killed.communicate(timeout=PROCESS_TIMEOUT_S)
    assert killed.returncode == -signal.SIGKILL
    assert champion(env, "m") == before
    promote(env, "m", recorded, "new model")
    assert champion(env, "m").model == "new model"


def test_promotions_of_several_processes_at_once_all_count(env):
    script = """
        for number in range(3):
            text = f"{os.getpid()} {number}"
            promote(env, "m", record_evaluation(env, "m", text, {}, {}, ""), text)
    """
    processes = [in_process(env, "import os\n" + textwrap.dedent(script)) for _ in range(2)]
    errors = [process.communicate(timeout=PROCESS_TIMEOUT_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    last = champion(env, "m")
    assert last.version == 6
    assert last.model == last.evaluation
    assert last.model in {f"{process.pid} 2" for process in processes}


def test_the_champion_survives_moving_the_data_folder(env, tmp_path):
    before = promote(env, "m", record(env, "evaluation"), "model")
    shutil.move(env.data, tmp_path / "elsewhere")
    moved = replace(env, data=tmp_path / "elsewhere")
    assert champion(moved, "m") == before
    after = promote(moved, "m", record(moved, "later"), "later model")
    assert champion(moved, "m") == after
    assert not env.data.exists()


def test_a_missing_artifact_is_named_with_what_to_do(env):
    run_id = promote(env, "m", record(env, "evaluation"), "model").run_id
    (env.registry / "artifacts" / run_id / "artifacts" / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"knows run {run_id}, but not its model.json. Restore the folder"):
        champion(env, "m")


def test_a_broken_registry_is_not_taken_for_an_empty_one(env):
    promote(env, "m", record(env, "evaluation"), "model")
    with closing(sqlite3.connect(env.registry / "mlflow.db")) as database, database:
        database.execute("DROP TABLE registered_model_aliases")
    with pytest.raises(Exception, match="registered_model_aliases"):
        champion(env, "m")


def test_the_registry_needs_no_network_and_leaves_no_thread(env):
    quiet = in_process(
        env,
        """
        import socket, threading
        def refuse(*given): raise SystemExit(f"network: {given}")
        socket.socket.connect = refuse
        socket.getaddrinfo = refuse
        promote(env, "m", record_evaluation(env, "m", "text", {}, {}, ""), "model")
        assert [t.name for t in threading.enumerate()] == ["MainThread"], threading.enumerate()
        """,
    )
    _, errors = quiet.communicate(timeout=PROCESS_TIMEOUT_S)
    assert quiet.returncode == 0, errors
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
