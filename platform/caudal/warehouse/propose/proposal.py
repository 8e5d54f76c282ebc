"""The whole proposal: how the files are read, their columns, key and path; and whether the samples fit it."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.declaration import DeclarationError
from caudal.warehouse.check import judge_files
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.propose import columns, layouts, names, sample
from caudal.warehouse.propose.proposed import Proposal
from caudal.warehouse.propose.render import contract_yaml, settings_yaml
from caudal.warehouse.propose.sniff import Sniffed, sniff
from caudal.warehouse.propose.table import NoProposal, Sample, read_sample

if TYPE_CHECKING:
    import duckdb

    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.readers.rows import LakeFile

__all__ = ["NoProposal", "Proposal", "propose"]

#: Files that are sniffed; the others are held against what those tell.
_SNIFFED = 20

#: Files that cannot be read of which it is told why.
_SHOWN = 3

#: A column that does not fit is proposed anew, so often.
_REPAIRS = 3


def propose(
    env: Environment,
    files: Sequence[Path],
    source: str | None = None,
    name: str | None = None,
    *,
    sample_bytes: int = sample.SAMPLE_BYTES,
    sample_rows: int = sample.SAMPLE_ROWS,
) -> Proposal:
    """Propose a dataset for sample files.

    Args:
        source, name: of the dataset; found out from the files' names if not given.
        sample_bytes, sample_rows: of each file are looked at.

    Raises:
        NoProposal: the files are of no format that is read, or hold no column.

    """
    with tempfile.TemporaryDirectory(prefix="caudal-propose-") as folder:
        work = Path(folder)
        with connect_memory(replace(env, data=work / "data")) as connection:
            return _Work(connection, work, files, sample_bytes, sample_rows).proposal(source, name)


@dataclass
class _Work:
    """One call of `propose`."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    files: Sequence[Path]
    sample_bytes: int
    sample_rows: int

    def proposal(self, source: str | None, name: str | None) -> Proposal:
        found = sample.unpack(self.files, self.folder, self.sample_bytes)
        sniffed, unlike = self._sniffed(found.files)
        unreadable = [*found.unreadable, *unlike]
        left_out = {n for n, _ in unlike}
        plain = [f for f in found.files if f.name not in left_out]
        plain = sample.first_lines(plain, sniffed, self.folder, self.sample_bytes, found.cut)
        layouts.complete(sniffed, plain)
        dataset = sniffed.dataset("sample", "sample")
        tables, refused = sample.tables_of(dataset, plain, self.folder)
        held = read_sample(self.connection, dataset, tables, self.sample_rows)
        held.unreadable += [*unreadable, *refused]
        if found.members:
            sniffed.options["members"] = found.members
            sniffed.note("members", "unsure: the archives hold other files too")
        proposal = self._of(held, sniffed, source, name)
        cut = list(dict.fromkeys([*found.cut, *held.cut]))
        proposal.notes += _about(held, cut, self.sample_bytes, self.sample_rows)
        self._verify(proposal, self._as_delivered(plain, found.cut))
        return proposal

    def _sniffed(self, files: Sequence[LakeFile]) -> tuple[Sniffed, list[tuple[str, str]]]:
        """How most files are read; and those that are in another format."""
        told: list[tuple[LakeFile, Sniffed]] = []
        problems: list[tuple[str, str]] = []
        for file in files[:_SNIFFED]:
            try:
                told.append((file, sniff(file.file, file.name)))
            except NoProposal as none:
                problems.append((file.name, str(none)))
        if not told:
            raise NoProposal("\n".join(reason for _, reason in problems) or "there is no file to look at")
        most = Counter(s.format for _, s in told).most_common(1)[0][0]
        alike = [s for _, s in told if s.format == most]
        problems += [(f.name, f"{f.name}: this is {s.format}, and others are {most}") for f, s in told if s.format != most]
        return layouts.common(alike), problems

    def _of(self, held: Sample, sniffed: Sniffed, source: str | None, name: str | None) -> Proposal:
        given = [f.name for f in self.files]
        proposed = columns.propose_columns(self.connection, held, sniffed.format)
        folders = [f for p in self.files[0].resolve().parents if (f := names.as_name(p.name))]
        by_file = names.dataset_name(given)
        note = "" if source else "unsure: called after the folder. Where do the files come from?"
        return Proposal(
            source=source or next(iter(folders if by_file else folders[1:]), "files"),
            name=name or by_file or next(iter(folders), "files"),
            sniffed=sniffed,
            path=names.file_path(given),
            columns=proposed.columns,
            pairs=proposed.pairs,
            varying=held.varying,
            source_note=note,
            files=len(given),
        )

    def _as_delivered(self, plain: Sequence[LakeFile], cut: Sequence[str]) -> list[LakeFile]:
        """The files as they would lie in the lake, packed or not; of those that were cut the start."""
        started = {f.path: f for f in plain if f.name in cut}
        return [replace(started[f.name], member=None) if f.name in started else _delivered(f) for f in self.files]

    def _verify(self, proposal: Proposal, files: Sequence[LakeFile]) -> None:
        """Read the samples with the proposal, as a load would. A column that refuses a value is proposed as text."""
        for _ in range(_REPAIRS):
            try:
                dataset = declared(proposal, self.folder)
            except DeclarationError as refused:
                problems = re.sub(r"(?m)^\S*\.odcs\.yaml:\d+: ", "", str(refused))
                raise NoProposal(f"no contract can be written for the columns as they are: {problems}") from None
            placed = [replace(f, path=f"{dataset.prefix}/{f.path}") for f in files]
            verdict = judge_files(self.connection, dataset, placed, self.folder / "parts")
            proposal.verdict = verdict
            if not columns.repair(proposal.columns, verdict.rejects):
                break
        assert proposal.verdict is not None
        if not proposal.fits:
            proposal.notes.append(f"unsure: {proposal.outcome()}")


def declared(proposal: Proposal, folder: Path) -> Dataset:
    """The dataset as the platform reads the proposal's YAML, which is written into `folder`.

    Raises:
        caudal.declaration.DeclarationError, ValueError: the proposal is wrong.

    """
    from caudal.lake.component import Datasets

    contract = folder / f"{proposal.name}.odcs.yaml"
    contract.write_text(contract_yaml(proposal), encoding="utf-8")
    component = Datasets.resolve_from_yaml(settings_yaml(proposal, str(contract)))
    (dataset,) = component.declared()
    return dataset


def _delivered(file: Path) -> LakeFile:
    from caudal.lake.readers.rows import LakeFile

    return LakeFile(file.name, "sample", file)


def _about(held: Sample, cut: Sequence[str], sample_bytes: int, sample_rows: int) -> list[str]:
    notes = [f"unsure: cannot be read: {reason}" for _, reason in held.unreadable[:_SHOWN]]
    if (more := len(held.unreadable) - _SHOWN) > 0:
        notes.append(f"unsure: {more:,} more files cannot be read")
    if held.refused:
        shown = "; ".join(f"{file}, row {row}: {reason}" for file, row, reason in held.problems)
        notes.append(f"unsure: {held.refused:,} rows are refused whatever the contract: {shown}")
    if cut:
        bound = f"{sample_bytes >> 20} MB and {sample_rows:,} rows"
        notes.append(f"looked at the start of {', '.join(cut[:5])} only ({bound} of a file at most)")
    return notes
