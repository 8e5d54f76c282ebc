"""marimo notebooks: run by themselves with parameters, and a failing cell is told by name and line. Real processes."""

import importlib.util
import sys
from pathlib import Path

import dagster as dg
import nbformat
import pytest

from caudal.explore.component import Notebook
from caudal.explore.marimo_notebook import MarimoMissing, run_marimo
from caudal.explore.notebook import NotebookFailed, UnreadableNotebook

HEAD = """import marimo

app = marimo.App()


@app.cell
def parameters():
    department = (
        "GROCERY"
    )
    limit: int = 3
    return department, limit


@app.cell
def _():
    import marimo as mo
    return (mo,)
"""
READS = (
    HEAD
    + """

@app.cell
def _(mo):
    mo.md("# Rows of a *department*")
    return


@app.cell
def counted(department, limit):
    from caudal.environment import Environment
    from caudal.warehouse.published import read_arrow
    sql = "SELECT count(*) AS n FROM marts.daily_sales WHERE department = ?"
    found = read_arrow(Environment.current(), sql, [department]).to_pandas()
    print(f"<b>{department}</b>", limit)
    found
    return (found,)
"""
)
FAILS = (
    HEAD
    + """

@app.cell
def before():
    print("so far")
    return


@app.cell
def broken(limit):
    # a comment
    share = limit / 0
    return (share,)


@app.cell
def after(share):
    share + 1
    return
"""
)


@pytest.fixture
def notebook(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "rows.py"
        path.write_text(text)
        return path

    return write


def test_a_marimo_notebook_is_an_asset_with_parameters_and_its_page_shows_what_it_found(published, notebook):
    path = notebook(READS)
    defs = Notebook(path=path, domain="sales", deps=["marts/sales/daily_sales"], parameters={"department": "FUEL"}).definitions(
        published
    )
    (asset,) = defs.assets
    (spec,) = asset.specs
    assert (spec.key, spec.kinds) == (dg.AssetKey(["notebook", "sales", "rows"]), {"marimo", "python"})
    instance = dg.DagsterInstance.ephemeral()
    assert dg.materialize([asset], instance=instance).success
    found = instance.get_latest_materialization_event(spec.key).asset_materialization.metadata
    report = found["report"].value
    assert "# Rows of a *department*" in report
    assert "<b>FUEL</b> 3" in report
    assert "| 0 | 70 |" in report
    kept = published.reports / "notebooks" / "sales" / "rows.ipynb"
    assert nbformat.read(kept, as_version=4).cells[0].cell_type == "code"
    document = Path(found["document"].value).read_text()
    assert "<h1>Rows of a <em>department</em></h1>" in document
    assert "&lt;b&gt;FUEL" in document
    assert "http" not in document
    assert path.read_text() == READS


def test_a_cell_that_fails_is_told_by_name_and_line_and_what_ran_is_kept(notebook, tmp_path):
    path, target = notebook(FAILS), tmp_path / "out" / "rows.ipynb"
    with pytest.raises(NotebookFailed) as failure:
        run_marimo(path, target, {"department": "FUEL"})
    line = FAILS.splitlines().index("    share = limit / 0") + 1
    message = str(failure.value)
    assert message.startswith(f"rows.py: cell 4 of 5 (`broken`), line {line} raised ZeroDivisionError: division by zero")
    assert "1 cell that needed it did not run." in message
    assert not target.exists()
    kept = nbformat.read(target.with_name("rows.failed.ipynb"), as_version=4)
    assert kept.cells[2].outputs[0].text == "so far\n"
    assert "FUEL" in kept.cells[0].source


def test_a_notebook_beyond_its_time_is_ended(notebook, tmp_path):
    endless = HEAD + "\n\n@app.cell\ndef _():\n    while True: pass\n    return\n"
    with pytest.raises(NotebookFailed, match=r"rows\.py was still running when the notebook's 0\.2 seconds were over"):
        run_marimo(notebook(endless), tmp_path / "o.ipynb", timeout_s=0.2)
    assert not (tmp_path / "o.ipynb").exists()


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        (HEAD, {"region": 1}, "no parameter `region`; its cell `parameters` assigns department, limit"),
        (HEAD, {"limit": object()}, "parameter `limit` is <object"),
        (HEAD.replace("def parameters", "def settings"), {"limit": 1}, "has no cell named `parameters`"),
        ("x = 1\n", {}, "not a marimo notebook"),
        ("def (:\n", {}, r"rows\.py:1: not Python"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(notebook, tmp_path, text, parameters, message):
    with pytest.raises(UnreadableNotebook, match=message):
        run_marimo(notebook(text), tmp_path / "o.ipynb", parameters)


def test_without_marimo_it_is_said_what_to_install(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MarimoMissing, match=r"install `caudal\[notebooks\]`"):
        run_marimo(notebook(HEAD), tmp_path / "o.ipynb")
    assert "marimo" not in sys.modules
