"""A proposal as YAML, each doubt as a comment beside or above the line concerned."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.warehouse.propose.columns import ProposedColumn
    from caudal.warehouse.propose.proposed import Proposal

_WIDTH = 120
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*(?: [\w./-]+)*")
_WORDS_OF_YAML = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}


def defs_yaml(proposal: Proposal) -> str:
    """`defs.yaml`: the component with the dataset."""
    attributes = textwrap.indent(settings_yaml(proposal, f"contracts/{proposal.name}.odcs.yaml"), "  ")
    return f"type: caudal.lake.component.Datasets\nattributes:\n{attributes}"


def settings_yaml(proposal: Proposal, contract: str) -> str:
    """The attributes of the component."""
    lines = _Lines()
    lines.add("source", proposal.source, notes=[proposal.source_note])
    lines.open("datasets")
    lines.item("name", proposal.name)
    lines.add("format", proposal.sniffed.format)
    lines.add("contract", contract)
    path = proposal.path
    lines.add("path", templated(path.path), notes=path.notes)
    if path.partition_by != "none":
        lines.add("partition_by", path.partition_by)
        lines.add("start", path.start)
    notes = proposal.sniffed.notes
    for name, value in proposal.sniffed.options.items():
        if isinstance(value, Mapping):
            lines.open(name, notes.get(name, ()))
            for option, given in value.items():
                lines.add(option, _templated(given), notes=notes.get(f"{name}.{option}", ()))
            lines.close()
        else:
            lines.add(name, _templated(value), notes=notes.get(name, ()))
    stated = {f"{n}.{o}" for n, v in proposal.sniffed.options.items() if isinstance(v, Mapping) for o in v}
    for name in notes.keys() - stated - proposal.sniffed.options.keys():
        lines.comment([f"{name}: {told}" for told in notes[name]])
    return lines.text()


def contract_yaml(proposal: Proposal) -> str:
    """`contracts/<name>.odcs.yaml`."""
    lines = _Lines()
    rows = proposal.verdict.read if proposal.verdict else None
    seen = f" ({rows:,} rows)" if rows else ""
    files = f"{proposal.files:,} sample file{'s' * (proposal.files != 1)}{seen}"
    lines.comment([f"Proposed from {files}. Comments tell where it was not sure: look at each, correct, and delete it."])
    lines.comment(proposal.notes)
    lines.add("apiVersion", "v3.1.0")
    lines.add("kind", "DataContract")
    lines.add("id", f"{proposal.source}.{proposal.name}")
    lines.add("name", proposal.name)
    lines.raw("version: 1.0.0")
    lines.add("status", "draft")
    lines.open("description")
    lines.add("purpose", "", notes=["TODO: what is it for?"])
    lines.close()
    lines.comment(["team: {name: ...}: TODO: who answers for it?"])
    lines.open("customProperties")
    lines.item("property", "driftPolicy")
    if proposal.varying:
        told = "not every row or file has every column; one that is absent is filled with nulls, a new one is added"
        lines.add("value", "evolve", notes=[told])
    else:
        lines.add("value", "freeze", notes=["a file with a column more or less is quarantined; `evolve` or `ignore` take it"])
    lines.close(2)
    lines.open("schema")
    lines.item("name", proposal.name)
    lines.add("description", "", notes=["TODO: what is one row?"])
    pairs = [f"unique together over the sample: `{a}` and `{b}`" for a, b in proposal.pairs]
    lines.open("properties", pairs)
    for column in proposal.columns:
        _column(lines, column)
    return lines.text()


def _column(lines: _Lines, column: ProposedColumn) -> None:
    declared = column.chosen.declared
    lines.item("name", column.name, notes=column.notes.get("name", ()))
    lines.add("logicalType", declared["logicalType"], notes=column.notes.get("logicalType", ()))
    if "physicalType" in declared:
        lines.add("physicalType", declared["physicalType"])
    if "logicalTypeOptions" in declared:
        lines.raw(f"logicalTypeOptions: {_flow(declared['logicalTypeOptions'])}")
    custom = [*declared.get("customProperties", ())]
    if column.in_files:
        custom.append({"property": "renamedFrom", "value": [column.in_files]})
    if custom:
        lines.open("customProperties")
        for one in custom:
            lines.raw(f"- {_flow(one)}")
        lines.close()
    for name in ("properties", "items"):
        if name in declared:
            lines.raw(f"{name}: {_flow(declared[name])}")
    if column.required:
        lines.add("required", value=True, notes=column.notes.get("required", ()))
    if column.primary_key:
        lines.add("primaryKey", value=True, notes=column.notes.get("primaryKey", ()))
    if column.classification:
        lines.add("classification", column.classification, notes=column.notes.get("classification", ()))
    if column.values:
        lines.comment([f"all values: {_flow(list(column.values))}; to refuse others, declare them as allowedValues"])
    lines.add("description", "", notes=["TODO"])
    lines.close()


def templated(value: str) -> str:
    """Text that Dagster, which renders settings as templates, renders to `value`."""
    from jinja2 import TemplateError
    from jinja2.nativetypes import NativeTemplate

    try:
        if NativeTemplate(value).render() == value:
            return value
    except TemplateError:
        pass
    return repr(value).replace("{", "\\x7b")


def scalar(value: Any) -> str:
    """A value as YAML reads it back."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.isascii() and value.lower() not in _WORDS_OF_YAML:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _templated(value: Any) -> Any:
    if isinstance(value, str):
        return templated(value)
    return [_templated(v) for v in value] if isinstance(value, list | tuple) else value


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return scalar(value)


class _Lines:
    """Lines of YAML at one indentation after the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = ""
        self._bullet = ""

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def open(self, key: str, notes: Sequence[str] = ()) -> None:
        """Begin a mapping or list below `key`."""
        self._line(f"{scalar(key)}:", notes)
        self._indent += "  "

    def close(self, levels: int = 1) -> None:
        self._indent = self._indent[: -2 * levels]

    def item(self, key: str, value: Any, notes: Sequence[str] = ()) -> None:
        """Begin an item of a list with its first key."""
        self._line(f"- {scalar(key)}: {_flow(value)}", notes)
        self._indent += "  "

    def add(self, key: str, value: Any, notes: Iterable[str] = ()) -> None:
        self._line(f"{scalar(key)}: {_flow(value)}", notes)

    def raw(self, line: str) -> None:
        self._line(line, ())

    def comment(self, notes: Iterable[str]) -> None:
        for told in notes:
            prefix = f"{self._indent}# "
            self._lines += textwrap.wrap(_one_line(told), _WIDTH, initial_indent=prefix, subsequent_indent=prefix)

    def _line(self, line: str, notes: Iterable[str]) -> None:
        told = [n for n in notes if n]
        short = len(told) == 1 and len(self._indent) + len(line) + len(told[0]) + 4 <= _WIDTH
        if not short:
            self.comment(told)
        self._lines.append(f"{self._indent}{line}" + (f"  # {_one_line(told[0])}" if short else ""))


def _one_line(told: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in told)
