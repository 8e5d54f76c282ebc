"""Whose rows are erased: they are dropped from whatever is loaded from now on, be it the same file again or a restored one.

The list says who by a hash of the value that identifies a person, with a salt of the company's own, so that the value itself is
not kept for the sake of its erasure. A hash of few possible values can be found again by trying all: the list is as personal as
what it hides, is readable by its owner alone, and stays as long as lake files, or copies of them, may come back.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.store import exclusive_lock, write_atomically
from caudal.warehouse.parquet_rows import without_rows
from caudal.warehouse.parts import FileCounts, Normalized, Quarantined
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    import duckdb

    from caudal.contracts import Column
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset

#: What stands between values in a line that could not be split into values.
_BETWEEN = r"""[,;|\s"']+"""
#: A whole number, however it is written.
_LEADING = re.compile(r"^[+]?0*([0-9]+)(?:[.]0+)?$")


@dataclass(frozen=True)
class Entry:
    """One person.

    Attributes:
        subject: what of the person the value is, such as `household`: the `subjectKey` of contracts.
        hash: of the value.
        erasure: the id of the erasure that asked for it.

    """

    subject: str
    hash: str
    erasure: str
    since: str


@dataclass(frozen=True)
class Suppressed:
    """The list, or a part of it."""

    salt: str = ""
    entries: tuple[Entry, ...] = ()

    def columns(self, dataset: Dataset) -> list[Column]:
        """The columns of the dataset by which a person of the list may be found."""
        subjects = {entry.subject for entry in self.entries}
        return [column for column in dataset.contract.columns if column.subject in subjects]

    def hashes(self, subject: str | None) -> list[str]:
        return sorted({entry.hash for entry in self.entries if entry.subject == subject})

    def is_of(self, subject: str | None, value: str) -> str:
        """A condition in DuckDB's SQL: the text `value`, an expression, identifies a person of the list."""
        listed = ", ".join(text(each) for each in self.hashes(subject))
        return f"sha256({text(self.beginning(subject))} || {value}) IN ({listed})"

    def names(self, subject: str | None, value: object) -> bool:
        """Whether the value, as text or number, identifies a person of the list."""
        if value is None:
            return False
        written = str(value)
        forms = {written, written.strip(), _LEADING.sub(r"\1", written.strip())}
        hashed = {hashlib.sha256(f"{self.beginning(subject)}{form}".encode()).hexdigest() for form in forms}
        return bool(hashed.intersection(self.hashes(subject)))

    def beginning(self, subject: str | None) -> str:
        """What is hashed before a value."""
        return f"{self.salt}|{subject}|"

    def in_rows(self, columns: Sequence[Column]) -> str:
        """A condition on typed rows."""
        return " OR ".join(self.is_of(c.subject, f"CAST({identifier(c.name)} AS VARCHAR)") for c in columns)

    def in_rejects(self, columns: Sequence[Column]) -> str:
        """A condition on rejects, whose values are text, as it stands in the file, or whole lines."""
        found = []
        for column in columns:
            path = '$."' + column.name.replace('"', '\\"') + '"'
            value = f"json_extract_string(record, {text(path)})"
            whole = rf"regexp_extract(trim({value}), '^[+]?0*([0-9]+)([.]0+)?$', 1)"
            found += [self.is_of(column.subject, form) for form in (value, f"trim({value})", whole)]
            is_token = self.is_of(column.subject, "token")
            tokens = f"list_transform(regexp_split_to_array(value, {text(_BETWEEN)}), lambda token: {is_token})"
            found.append(f"(record IS NULL AND value IS NOT NULL AND list_bool_or({tokens}))")
        return " OR ".join(f"coalesce({each}, false)" for each in found)


#: Nobody.
NOBODY = Suppressed()


def suppressed(env: Environment) -> Suppressed:
    """The company's list."""
    try:
        found = json.loads(_file(env).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return NOBODY
    return Suppressed(found["salt"], tuple(Entry(**each) for each in found["entries"]))


def entry_of(env: Environment, subject: str, value: str, erasure: str) -> Suppressed:
    """A list with one person alone, who is not on the company's by that."""
    salt = suppressed(env).salt or _salted(env)
    digest = hashlib.sha256(f"{salt}|{subject}|{value}".encode()).hexdigest()
    return Suppressed(salt, (Entry(subject, digest, erasure, _now()),))


def suppress(env: Environment, entry: Entry) -> None:
    """Put a person on the company's list; nothing if it has that person already."""
    with exclusive_lock(_lock(env)):
        known = suppressed(env)
        if all((each.subject, each.hash) != (entry.subject, entry.hash) for each in known.entries):
            _write(env, replace(known, entries=(*known.entries, entry)))


def without_suppressed(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    results: Sequence[Normalized | Quarantined],
    listed: Suppressed,
    work: Path,
) -> list[Normalized | Quarantined]:
    """`results` without the rows of people of the list, which are counted as erased."""
    columns = listed.columns(dataset)
    if not columns:
        return list(results)
    done: list[Normalized | Quarantined] = []
    for result in results:
        if isinstance(result, Normalized):
            part, loaded = _dropped(connection, result.part, listed.in_rows(columns), work)
            rejects, rejected = _dropped_rejects(connection, result.rejects, listed.in_rejects(columns), work)
            files = tuple(_counted(f, loaded, rejected) for f in result.files)
            done.append(replace(result, files=files, part=part, rejects=rejects))
        else:
            done.append(result)
    return done


def _counted(file: FileCounts, loaded: Mapping[str, int], rejected: Mapping[str, int]) -> FileCounts:
    gone, refused = loaded.get(file.name, 0), rejected.get(file.name, 0)
    return replace(
        file,
        rows_loaded=file.rows_loaded - gone,
        rows_rejected=file.rows_rejected - refused,
        rows_erased=file.rows_erased + gone + refused,
    )


def _dropped(
    connection: duckdb.DuckDBPyConnection, part: Path | None, condition: str, work: Path
) -> tuple[Path | None, dict[str, int]]:
    """The part without the rows for which the condition holds, None without a row; how many of each file these were."""
    if part is None:
        return None, {}
    rows = f"FROM read_parquet({text(str(part))}, file_row_number = true) WHERE {condition}"
    counts = dict(connection.execute(f"SELECT _file, count(*) {rows} GROUP BY 1").fetchall())
    if not counts:
        return part, {}
    gone = connection.execute(f"SELECT file_row_number {rows}").fetchnumpy()["file_row_number"]
    return _without(part, gone.tolist(), work), counts


def _dropped_rejects(
    connection: duckdb.DuckDBPyConnection, rejects: Path | None, condition: str, work: Path
) -> tuple[Path | None, dict[str, int]]:
    """As `_dropped`, with all problems of a rejected row at once, and counting rows."""
    if rejects is None:
        return None, {}
    source = f"read_parquet({text(str(rejects))}, file_row_number = true)"
    rows = f"FROM {source} WHERE (_file, _row) IN (SELECT (_file, _row) FROM {source} WHERE {condition})"
    counts = dict(connection.execute(f"SELECT _file, count(DISTINCT _row) {rows} GROUP BY 1").fetchall())
    if not counts:
        return rejects, {}
    gone = connection.execute(f"SELECT file_row_number {rows}").fetchnumpy()["file_row_number"]
    return _without(rejects, gone.tolist(), work), counts


def _without(file: Path, gone: Collection[int], into: Path) -> Path | None:
    """The Parquet file without the rows of these numbers, as a file in `into`, None if none is left; the old one is removed."""
    written = into / f"{uuid.uuid4().hex}.parquet"
    left = without_rows(file, gone, written)
    file.unlink()
    if left:
        return written
    written.unlink()
    return None


def _salted(env: Environment) -> str:
    with exclusive_lock(_lock(env)):
        known = suppressed(env)
        if not known.salt:
            known = Suppressed(secrets.token_hex(16))
            _write(env, known)
        return known.salt


def hand_over(source: Environment, target: Environment) -> None:
    """Have `target`, which takes over the data of `source`, drop the same people's rows."""
    with exclusive_lock(_lock(source)):
        known = suppressed(source)
    if known.salt:
        with exclusive_lock(_lock(target)):
            _write(target, known)


def _write(env: Environment, listed: Suppressed) -> None:
    with write_atomically(_file(env)) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(listed), indent=1), encoding="utf-8")


def _file(env: Environment) -> Path:
    return env.state / "erased_people.json"


def _lock(env: Environment) -> Path:
    return env.state / "locks" / "erased_people.lock"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
