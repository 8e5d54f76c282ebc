"""Running a marimo notebook as `notebook.py` runs a Jupyter one: by itself, with parameters, within a time.

Its own export runs the file in another process and writes what came of each cell as a Jupyter notebook. That is kept and shown:
its HTML loads a viewer from the internet.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.explore.notebook import (
    PARAMETERS,
    NotebookFailed,
    NotebookRun,
    UnreadableNotebook,
    assigned_names,
    check_parameters,
    write_notebook,
)
from caudal.explore.report import notebook_report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

#: The process ends with the one that started it, however that ended.
_START = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
sys.argv[0] = "marimo"
runpy.run_module("marimo", run_name="__main__", alter_sys=True)
"""
_ANCESTOR = "Ancestor raised"
_LINE = re.compile(r'File "[^"/]*", line (\d+)')
_LAST_LINES = 12


class MarimoMissing(RuntimeError):
    """marimo is not installed."""


@dataclass(frozen=True)
class _Cell:
    """`line` is the one in the file on which its code begins."""

    name: str
    line: int


def run_marimo(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> NotebookRun:
    """Execute the notebook `source` and write it, with its outputs, to `target`, an `.ipynb`.

    If a cell fails, the cells that do not need it run all the same; `target` stays as it was and what was executed is beside
    it, as `<name>.failed.ipynb`.

    Args:
        parameters: values that replace those of the same name in the cell named `parameters`; what YAML can say.
        variables: environment variables, in addition to those of this process.
        timeout_s: for all cells together, and marimo's start.

    Raises:
        FileNotFoundError: there is no `source`.
        MarimoMissing: with what to install.
        UnreadableNotebook: it is not a marimo notebook, or does not take these parameters; nothing was executed.
        NotebookFailed: a cell raised, or the time was over.

    """
    began = time.monotonic()
    text = source.read_text(encoding="utf-8")
    cells, text = _prepared(text, dict(parameters or {}), source)
    if importlib.util.find_spec("marimo") is None:
        raise MarimoMissing(f"{source}: is a marimo notebook, and marimo is not installed here; install `caudal[notebooks]`")
    notebook = _export(source, text, dict(variables or {}), timeout_s)
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    if failure := _failure(notebook, cells, source):
        write_notebook(notebook, failed)
        raise NotebookFailed(f"{failure}\nWhat was executed is in {failed}")
    write_notebook(notebook, target)
    failed.unlink(missing_ok=True)
    code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    return NotebookRun(target, notebook_report(notebook), code_cells, round(time.monotonic() - began, 3))


def _prepared(text: str, parameters: dict[str, Any], source: Path) -> tuple[list[_Cell], str]:
    """The cells, in the order of the file, and the file with the values of `parameters` in it, line for line."""
    try:
        tree = ast.parse(text)
    except SyntaxError as bad:
        raise UnreadableNotebook(f"{source}:{bad.lineno}: not Python: {bad.msg}") from bad
    lines = text.splitlines(keepends=True)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and _is_cell(node)}
    cells = [_Cell(_name(node), _first_line(node, lines)) for node in tree.body if _is_cell(node)]
    if not cells:
        raise UnreadableNotebook(f"{source}: not a marimo notebook: it has no cell (`@app.cell`)")
    if not parameters:
        return cells, text
    if PARAMETERS not in functions:
        raise UnreadableNotebook(
            f"{source}: is given {', '.join(parameters)} but has no cell named `{PARAMETERS}`; name the one that assigns them"
        )
    body = functions[PARAMETERS].body
    check_parameters(parameters, assigned_names(body), source)
    for statement in reversed(body):
        for target in statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]:
            value = getattr(statement, "value", None)
            if isinstance(target, ast.Name) and target.id in parameters and value is not None:
                _replace(lines, value, repr(parameters[target.id]))
    return cells, "".join(lines)


def _replace(lines: list[str], value: ast.expr, code: str) -> None:
    """Put `code` in the place of an expression; lines that it took stay as empty ones."""
    first, last = value.lineno - 1, (value.end_lineno or value.lineno) - 1
    before = lines[first].encode()[: value.col_offset].decode()
    after = lines[last].encode()[value.end_col_offset :].decode()
    lines[first : last + 1] = [before + code + after, *["\n"] * (last - first)]


def _is_cell(node: ast.stmt) -> bool:
    if isinstance(node, ast.With):
        return ast.unparse(node.items[0].context_expr).startswith("app.setup")
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(ast.unparse(d).startswith(("app.cell", "app.function", "app.class_definition")) for d in node.decorator_list)


def _name(node: ast.stmt) -> str:
    return getattr(node, "name", "setup")


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """Comments before the first statement belong to the cell."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and any(
        not ast.unparse(d).startswith("app.cell") for d in node.decorator_list
    ):
        return node.lineno
    number = node.lineno
    while not lines[number - 1].rstrip().endswith(":"):
        number += 1
    return number + 1


def _export(source: Path, text: str, variables: dict[str, str], timeout_s: float) -> NotebookNode:
    """Marimo's own export of the notebook, run in an empty folder without the user's settings."""
    import nbformat

    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        script, executed = Path(folder, source.name), Path(folder, "executed.ipynb")
        script.write_text(text, encoding="utf-8")
        own = {f"XDG_{kind}_HOME": folder for kind in ("CONFIG", "CACHE", "STATE", "DATA")} | {"MARIMO_SKIP_UPDATE_CHECK": "1"}
        command = [sys.executable, "-c", _START, "-y", "-q", "export", "ipynb", script.name]
        process = subprocess.Popen(
            [*command, "-o", executed.name, "--include-outputs", "--sort", "top-down"],
            cwd=folder,
            env=os.environ | own | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise NotebookFailed(
                f"{source.name} was still running when the notebook's {timeout_s:g} seconds were over; of marimo notebooks "
                "nothing is kept then"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not executed.is_file():
            last = "\n".join(said.splitlines()[-_LAST_LINES:])
            raise NotebookFailed(
                f"{source.name}: marimo ended with code {process.returncode} before it wrote what it had:\n{last}"
            )
        return nbformat.read(executed, as_version=4)


def _failure(notebook: NotebookNode, cells: list[_Cell], source: Path) -> str:
    """What to say of the first cell that raised; "" if none did."""
    raised = [
        (i, output)
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]
    if not raised:
        return ""
    place, error = min(raised, key=lambda found: found[1].ename == _ANCESTOR)
    where = f"{source.name}: cell {place + 1} of {len(notebook.cells)}"
    if len(cells) == len(notebook.cells):
        name = cells[place].name
        where += f" (`{name}`)" if name != "_" else ""
        numbers = [int(n) for n in _LINE.findall("\n".join(error.traceback))]
        if numbers:
            where += f", line {cells[place].line + numbers[0] - 1}"
    last = "\n".join(line for line in "\n".join(error.traceback).splitlines()[-_LAST_LINES:])
    skipped = sum(output.ename == _ANCESTOR for _, output in raised)
    others = f"\n{skipped} cell{'s' if skipped > 1 else ''} that needed it did not run." if skipped else ""
    return f"{where} raised {error.ename}: {error.evalue}\n{last}{others}"
