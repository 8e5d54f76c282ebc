"""Running a notebook without a browser: in a process of its own, with parameters, within a time."""

from __future__ import annotations

import ast
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.explore.report import notebook_report
from caudal.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

PARAMETERS, INJECTED = "parameters", "injected-parameters"
TRACEBACK_LINES = 12
#: The system's limit for the path of a socket is about 104 bytes; beyond it the kernel is spoken to over loopback.
LONGEST_SOCKET_PATH = 95

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class UnreadableNotebook(ValueError):
    """The file is not a notebook, or does not take the parameters that it is given."""


class NotebookFailed(RuntimeError):
    """A cell raised, took too long, or ended its kernel. The message names the cell and tells what happened."""


@dataclass(frozen=True)
class NotebookRun:
    """A notebook that ran to its end.

    Attributes:
        path: the executed notebook.
        report: its texts and results, without its code, as Markdown of less than `markdown.MAX_BYTES`.
        cells: executed code cells.
        seconds: how long it took, with the start of the kernel.

    """

    path: Path
    report: str
    cells: int
    seconds: float


def run_notebook(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> NotebookRun:
    """Execute the notebook `source` and write it, with its outputs, to `target`.

    It runs under the current interpreter, in an empty temporary folder, with neither the user's kernels nor his
    IPython settings; the kernel is spoken to through local sockets and ends when this process does. If a cell
    fails, `target` stays as it was and what was executed is beside it, as `<name>.failed.ipynb`.

    Args:
        parameters: values that replace those of the same name in the cell tagged `parameters`; what YAML can say.
        variables: environment variables, in addition to those of this process.
        timeout_s: for all cells together.

    Raises:
        FileNotFoundError: there is no `source`.
        UnreadableNotebook: it is not a notebook, or does not take these parameters; nothing was executed.
        NotebookFailed: a cell raised, took too long or ended the kernel.

    """
    began = time.monotonic()
    notebook = _read(source)
    injected_at = _inject(notebook, dict(parameters or {}), source)
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    try:
        cells = _execute(notebook, source.name, injected_at, dict(variables or {}), timeout_s)
    except NotebookFailed as failure:
        write_notebook(notebook, failed)
        raise NotebookFailed(f"{failure}\nWhat was executed is in {failed}") from None
    write_notebook(notebook, target)
    failed.unlink(missing_ok=True)
    return NotebookRun(target, notebook_report(notebook), cells, round(time.monotonic() - began, 3))


def _read(source: Path) -> NotebookNode:
    import nbformat

    text = source.read_text(encoding="utf-8", errors="replace")
    try:
        notebook = nbformat.reads(text, as_version=4)
    except Exception as bad:  # Whatever the malformed part leads to: the library does not check before it converts.
        raise UnreadableNotebook(f"{source}: not a Jupyter notebook: {str(bad).partition('.')[0][:200]}") from bad
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _inject(notebook: NotebookNode, parameters: dict[str, Any], source: Path) -> int | None:
    """Add a cell that assigns `parameters` below the tagged one; its index, if there is one."""
    from nbformat.v4 import new_code_cell

    if not parameters:
        return None
    places = [i for i, cell in enumerate(notebook.cells) if PARAMETERS in cell.metadata.get("tags", ())]
    if not places:
        raise UnreadableNotebook(
            f"{source}: is given {', '.join(parameters)} but has no cell tagged `{PARAMETERS}`; tag the one that assigns them"
        )
    check_parameters(parameters, _assigned(notebook.cells[places[0]].source, source), source)
    lines = (f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(places[0] + 1, new_code_cell("\n".join(lines), metadata={"tags": [INJECTED]}))
    return places[0] + 1


def check_parameters(parameters: Mapping[str, Any], known: Sequence[str], source: Path) -> None:
    """Refuse what the parameters' cell does not assign, and what cannot be written as code.

    Raises:
        UnreadableNotebook: with the parameter.

    """
    for name, value in parameters.items():
        if name not in known:
            raise UnreadableNotebook(
                f"{source}: no parameter `{name}`; its cell `{PARAMETERS}` assigns {', '.join(known) or 'nothing'}"
            )
        if not _is_literal(value):
            raise UnreadableNotebook(
                f"{source}: parameter `{name}` is {value!r}; expected text, a number, true, false, null, or a list or mapping "
                "of them (quote a date)"
            )


def assigned_names(statements: Sequence[ast.stmt]) -> list[str]:
    """The names that they assign."""
    targets = [t for s in statements if isinstance(s, ast.Assign) for t in s.targets]
    targets += [s.target for s in statements if isinstance(s, ast.AnnAssign)]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def _assigned(code: str, source: Path) -> list[str]:
    try:
        return assigned_names(ast.parse(code).body)
    except SyntaxError as bad:
        raise UnreadableNotebook(f"{source}: the cell tagged `{PARAMETERS}` is not Python: {bad}") from bad


def _is_literal(value: Any) -> bool:
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False


def _execute(notebook: NotebookNode, name: str, injected_at: int | None, variables: dict[str, str], timeout_s: float) -> int:
    """Run every cell in order; how many were code. The caller's signal handlers stay as they are."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    deadline = time.monotonic() + timeout_s
    last = len(notebook.cells) - (injected_at is not None)
    executed = 0
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(
            notebook,
            km=_kernel_manager(Path(folder), variables),
            resources={"metadata": {"path": folder}},
            timeout_func=lambda _cell: max(1, round(deadline - time.monotonic())),
            shutdown_kernel="immediate",
        )
        with client.setup_kernel(cleanup_kc=True):
            for i, cell in enumerate(notebook.cells):
                number = i + 1 - (injected_at is not None and i >= injected_at)
                where = f"{name}: cell {number} of {last}"
                try:
                    client.execute_cell(cell, i, execution_count=executed + 1)
                except CellExecutionError as error:
                    raise NotebookFailed(f"{where} raised {error.ename}:\n{_traceback(cell)}") from None
                except CellTimeoutError:
                    raise NotebookFailed(
                        f"{where} was still running when the notebook's {timeout_s:g} seconds were over"
                    ) from None
                except DeadKernelError:
                    raise NotebookFailed(f"{where} ended the kernel (out of memory, or a crash in a library)") from None
                executed += cell.cell_type == "code"
    return executed


def _kernel_manager(folder: Path, variables: dict[str, str]) -> AsyncKernelManager:
    """A kernel of this interpreter whose files are all in `folder`."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    own = {"IPYTHONDIR": str(folder / "ipython"), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    launch = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=[*launch, "--HistoryManager.enabled=False"],
        name="python3",
        display_name="Python 3",
        language="python",
        env=own | variables,
    )

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002
            return spec

    sockets = folder / "kernel"
    fits = len(str(sockets)) < LONGEST_SOCKET_PATH
    return AsyncKernelManager(
        kernel_spec_manager=ThisInterpreter(),
        connection_file=str(folder / "kernel.json"),
        **({"transport": "ipc", "ip": str(sockets)} if fits else {"transport": "tcp", "ip": "127.0.0.1"}),
    )


def _traceback(cell: NotebookNode) -> str:
    """The last lines of the error that a cell left among its outputs."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if not errors:
        return ""
    lines = _ESCAPES.sub("", "\n".join(errors[-1].traceback)).splitlines()
    return "\n".join(lines[-TRACEBACK_LINES:])


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write it whole or not at all."""
    import nbformat

    with write_atomically(path) as temporary:
        temporary.write_text(nbformat.writes(notebook), encoding="utf-8")
