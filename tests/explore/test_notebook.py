"""Notebooks: real kernels run real notebooks, to the end or not."""

import base64
import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from caudal.explore.drawing import fit_png
from caudal.explore.markdown import MAX_BYTES
from caudal.explore.notebook import NotebookFailed, UnreadableNotebook, run_notebook
from caudal.explore.report import notebook_report

Write = Callable[..., Path]


def parameters(code: str) -> nbformat.NotebookNode:
    return new_code_cell(code, metadata={"tags": ["parameters"]})


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(*cells: nbformat.NotebookNode | str) -> Path:
        path = tmp_path / "question.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(c) if isinstance(c, str) else c for c in cells]), path)
        return path

    return make


def test_a_notebook_runs_with_its_parameters_and_is_kept_with_its_outputs(write, tmp_path, pictures):
    source = write(
        new_markdown_cell("# Which question"),
        parameters("department = 'GROCERY'\ndays: int = 7"),
        "import os, sys\nprint(department, days, os.environ['SHOP'], sys.executable)",
        "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()",
        "from IPython.display import Markdown\nMarkdown('**so many**')",
        "import pandas as pd\npd.DataFrame({'day': ['Mon'], 'baskets': [1]})",
        "import os\nos.listdir()",
    )
    before = source.read_bytes()
    run = run_notebook(source, tmp_path / "out" / "kept.ipynb", {"department": "it's", "days": 3}, {"SHOP": "corner"})
    assert source.read_bytes() == before
    assert (run.path, run.cells) == (tmp_path / "out" / "kept.ipynb", 7)
    assert 0 < run.seconds < 120
    assert f"it's 3 corner {sys.executable}" in run.report
    assert [picture.format for picture in pictures(run.report)] == ["PNG"]
    assert run.report.startswith("# Which question\n\n~~~~text\n")
    assert "**so many**" in run.report
    assert "0  Mon        1" in run.report
    assert "<" not in run.report.replace("<Figure", "")
    assert "plt.plot" not in run.report
    kept = nbformat.read(run.path, as_version=4)
    assert kept.cells[2].metadata.tags == ["injected-parameters"]
    assert kept.cells[2].source == 'department = "it\'s"\ndays = 3'
    folder = kept.cells[-1].outputs[0].data["text/plain"]
    assert "question.ipynb" not in folder
    assert os.listdir(run.path.parent) == ["kept.ipynb"]


def test_a_failing_cell_is_named_with_the_end_of_its_traceback_and_the_last_good_run_stays(write, tmp_path):
    target = tmp_path / "kept.ipynb"
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    run_notebook(write("1"), target)
    good = target.read_bytes()
    source = write(
        new_markdown_cell("# Text"),
        parameters("share = 1"),
        "def divide():\n    return 1 / share\n\ndivide()",
        "print('never')",
    )
    with pytest.raises(NotebookFailed, match=r"question\.ipynb: cell 3 of 4 raised ZeroDivisionError") as failure:
        run_notebook(source, target, {"share": 0})
    text = str(failure.value)
    assert "----> 2     return 1 / share" in text
    assert "\x1b" not in text
    assert text.splitlines()[-2:] == [
        "ZeroDivisionError: division by zero",
        f"What was executed is in {tmp_path}/kept.failed.ipynb",
    ]
    assert target.read_bytes() == good
    failed = nbformat.read(tmp_path / "kept.failed.ipynb", as_version=4)
    assert failed.cells[3].outputs[0].ename == "ZeroDivisionError"
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    run_notebook(write("2"), target)
    assert not (tmp_path / "kept.failed.ipynb").exists()


def test_a_notebook_that_takes_too_long_is_ended(write, tmp_path):
    source = write("1", "import threading\nthreading.Event().wait()")
    for seconds in (2, 20, 120):  # on a busy machine the kernel alone may take the first of them
        with pytest.raises(
            NotebookFailed, match=f"was still running when the notebook's {seconds} seconds were over"
        ) as failure:
            run_notebook(source, tmp_path / "kept.ipynb", timeout_s=seconds)
        if "cell 2 of 2" in str(failure.value):
            break
    assert "cell 2 of 2 was still running" in str(failure.value)
    assert not (tmp_path / "kept.ipynb").exists()


def test_a_cell_that_takes_the_kernel_with_it_is_named(write, tmp_path):
    with pytest.raises(NotebookFailed, match=r"cell 1 of 2 ended the kernel"):
        run_notebook(write("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "1"), tmp_path / "kept.ipynb")


def test_neither_kernels_nor_settings_of_the_user_matter(write, tmp_path, monkeypatch):
    startup = tmp_path / "home" / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("spoiled = True")
    kernels = tmp_path / "home" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "home" / ".ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "home"))
    source = write("'spoiled' in globals()")
    notebook = nbformat.read(source, as_version=4)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "theirs", "language": "python"}
    nbformat.write(notebook, source)
    assert "False" in run_notebook(source, tmp_path / "kept.ipynb").report


def test_a_temporary_folder_too_deep_for_sockets_is_no_obstacle(write, tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert "42" in run_notebook(write("6 * 7"), tmp_path / "kept.ipynb").report
    assert os.listdir(deep) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a process of others needs Linux")
def test_the_kernel_ends_when_the_process_that_runs_it_is_killed(write, tmp_path):
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    source = write(f"import os, threading\nopen({str(pipe)!r}, 'w').write(str(os.getpid()))\nthreading.Event().wait()")
    code = (
        "import sys, pathlib\nfrom caudal.explore.notebook import run_notebook\nrun_notebook(*map(pathlib.Path, sys.argv[1:]))"
    )
    given = [source, tmp_path / "kept.ipynb"]
    runner = subprocess.Popen([sys.executable, "-c", code, *given], env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        kernel = os.pidfd_open(int(pipe.read_text()))
    finally:
        runner.kill()
        runner.wait()
    ended, _, _ = select.select([kernel], [], [], 30)
    os.close(kernel)
    assert ended


@pytest.mark.parametrize(
    ("cells", "given", "problem"),
    [
        (["1"], {"a": 1}, "is given a but has no cell tagged `parameters`"),
        ([parameters("a = b = 1")], {"c": 1}, "no parameter `c`; its cell `parameters` assigns a, b"),
        ([parameters("# none")], {"c": 1}, "assigns nothing"),
        ([parameters("a = 1")], {"a": float("nan")}, "parameter `a` is nan; expected text"),
        ([parameters("a = 1")], {"a": Path("x")}, "parameter `a` is PosixPath"),
        ([parameters("%magic")], {"a": 1}, "the cell tagged `parameters` is not Python"),
    ],
)
def test_parameters_that_the_notebook_does_not_take_are_refused(write, tmp_path, cells, given, problem):
    with pytest.raises(UnreadableNotebook, match=problem):
        run_notebook(write(*cells), tmp_path / "kept.ipynb", given)


@pytest.mark.parametrize("text", ["", "nope", "{}", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_notebook_is_refused_by_name(tmp_path, text):
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(UnreadableNotebook, match=r"x\.ipynb: not a Jupyter notebook"):
        run_notebook(tmp_path / "x.ipynb", tmp_path / "kept.ipynb")


def test_a_missing_notebook_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.ipynb"):
        run_notebook(tmp_path / "x.ipynb", tmp_path / "kept.ipynb")


def printed(text: str) -> nbformat.NotebookNode:
    return new_code_cell("...", outputs=[new_output("stream", name="stdout", text=text)])


def test_a_report_shows_texts_and_results_but_neither_warnings_nor_html():
    outputs = [
        new_output("stream", name="stderr", text="a warning"),
        new_output("execute_result", {"text/html": "<b>1</b>", "text/plain": "1"}),
        new_output("display_data", {"text/html": "<script>"}),
        new_output("error", ename="E", evalue="v", traceback=[]),
    ]
    notebook = new_notebook(cells=[new_markdown_cell(" "), new_markdown_cell("Text"), new_code_cell("code", outputs=outputs)])
    assert notebook_report(notebook) == "Text\n\n~~~~text\n1\n~~~~"


def test_a_report_is_cut_before_it_is_too_large_for_a_page():
    long = notebook_report(new_notebook(cells=[printed("x" * 10_000)]))
    assert len(long) < 4_100
    many = notebook_report(new_notebook(cells=[printed("y" * 3_000) for _ in range(200)]))
    assert len(many.encode()) <= MAX_BYTES
    assert many.endswith("*(the page is full: the rest is in the executed notebook)*")


def test_a_picture_too_large_for_the_page_is_replaced_by_a_word_about_it(monkeypatch):
    png = io.BytesIO()
    Image.effect_noise((300, 200), 90).save(png, "PNG")
    monkeypatch.setattr("caudal.explore.report.fit_png", partial(fit_png, max_bytes=100))
    data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": "<Figure>"}
    report = notebook_report(new_notebook(cells=[new_code_cell("", outputs=[new_output("display_data", data)])]))
    assert report == "*(a picture of 300 x 200 pixels takes more than 100 bytes however small it is drawn)*"
