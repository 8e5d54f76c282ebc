"""What is kept beside the tables and may hold a person's rows: failing rows, repairs, samples, notebooks, online versions."""

from __future__ import annotations

import html
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.runtime.erasure.plan import Place
from caudal.serving.online import pointer_path, version_path
from caudal.store import exclusive_lock, write_atomically
from caudal.warehouse.engine import connect_memory
from caudal.warehouse.parquet_rows import without_rows
from caudal.warehouse.sql import identifier, text

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.lake.ledger import Ledger
    from caudal.lake.records import Repair
    from caudal.runtime.erasure.subjects import Where
    from caudal.warehouse.suppression import Suppressed

#: What stands between tags of HTML, or quotes of JSON; and in it, what stands between blanks.
_TEXT = re.compile(r"""[>"]([^<>"]+)[<"]""")
_WORD = re.compile(r"[^\s,;|'()]+")


def places(env: Environment, where: Where, listed: Suppressed) -> Iterator[Place]:
    """What there is of the people of the list, and what is removed whole without being looked into."""
    kept = failing(env, where, listed)
    if kept:
        yield Place("failing rows", "", sum(map(len, kept.values())), f"removed from {len(kept)} files", {})
    samples = _samples(env, where)
    if samples:
        yield Place(
            "duplicates", ", ".join(path.stem for path in samples), None, "counts and samples removed; counted anew", {}
        )
    profiles = _profiles(env, where, listed)
    if profiles:
        yield Place("profiles", f"{len(profiles)} reports and records", None, "removed; made anew with their assets", {})
    notebooks = _notebooks(env)
    if notebooks:
        yield Place("notebooks", f"{len(notebooks)} executed notebooks", None, "removed; made anew with their assets", {})
    for version, keys in online(env, where, listed).items():
        yield Place("online store", version, len(keys), "rows removed in a new version; older versions removed", {})


def remove(env: Environment, where: Where, listed: Suppressed) -> None:
    """Remove all that `places` finds. Doing so again does nothing."""
    for path, rows in failing(env, where, listed).items():
        work = path.parent / ".erasure"
        work.mkdir(exist_ok=True)
        if without_rows(path, rows, work / path.name):
            (work / path.name).replace(path)
        else:
            path.unlink()
        shutil.rmtree(work)
    for path in _samples(env, where):
        path.unlink(missing_ok=True)
    for path in (*_notebooks(env), *_profiles(env, where, listed)):
        path.unlink(missing_ok=True)
    for dataset in where.datasets:
        shutil.rmtree(env.state / "parts" / dataset.table, ignore_errors=True)
    _remove_online(env, where, listed)


def repairs(ledger: Ledger, dataset: Dataset, listed: Suppressed) -> list[Repair]:
    """The repaired rows of people of the list."""
    keys = {column.name: column.subject for column in listed.columns(dataset)}
    return [
        repair
        for repair in ledger.repairs(dataset.id)
        for record in [json.loads(repair.record)]
        if any(listed.names(subject, record.get(name)) for name, subject in keys.items())
    ]


def failing(env: Environment, where: Where, listed: Suppressed) -> dict[Path, list[int]]:
    """By file, the numbers, from 0, of the rows of people of the list that are kept because they break a rule."""
    found = {}
    with connect_memory(env) as connection:
        for path in sorted(env.failing.rglob("*.parquet")) if env.failing.is_dir() else ():
            source = f"read_parquet({text(str(path))}, file_row_number = true)"
            names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            conditions = [
                f"coalesce({listed.is_of(where.subject, f'CAST({identifier(name)} AS VARCHAR)')}, false)"
                for name in names
                if name in where.names
            ]
            if conditions:
                rows = connection.execute(f"SELECT file_row_number FROM {source} WHERE {' OR '.join(conditions)}").fetchall()
                if rows:
                    found[path] = [row[0] for row in rows]
    return found


def online(env: Environment, where: Where, listed: Suppressed) -> dict[str, list[tuple[str, str]]]:
    """By version of the online store, the name and key of each of its rows that is of people of the list."""
    found = {}
    for path in sorted((env.online / "versions").glob("*.sqlite")) if env.online.is_dir() else ():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            keys: Mapping[str, str] = dict(store.execute("SELECT name, key FROM contents"))
            rows = [
                (name, key)
                for name, key, body in store.execute("SELECT name, key, body FROM keyed_rows")
                if _is_of(where, listed, json.loads(body), keys.get(name, ""), key)
            ]
            rows += [
                ("", series)
                for (series,) in store.execute("SELECT series FROM forecasts")
                if listed.names(where.subject, series)
            ]
        if rows:
            found[path.stem] = rows
    return found


def _is_of(where: Where, listed: Suppressed, body: Any, key_column: str, key: str) -> bool:
    values = [value for name, value in body.items() if name in where.names] if isinstance(body, dict) else []
    values += [key] if key_column in where.names else []
    return any(listed.names(where.subject, value) for value in values)


def _remove_online(env: Environment, where: Where, listed: Suppressed) -> None:
    """Serve a copy of the current version without the rows, then remove every version that has some."""
    with exclusive_lock(env.online / "publish.lock"):
        found = online(env, where, listed)
        pointer = pointer_path(env)
        current = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
        if current in found:
            made = f"{current.removesuffix('Z')}eZ"
            with write_atomically(version_path(env, made)) as temporary:
                shutil.copyfile(version_path(env, current), temporary)
                _without(temporary, found[current], made)
            with write_atomically(pointer) as temporary:
                temporary.write_text(made + "\n", encoding="utf-8")
        for version in found:
            version_path(env, version).unlink(missing_ok=True)


def _without(file: Path, rows: list[tuple[str, str]], version: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.execute("BEGIN")
        store.executemany("DELETE FROM keyed_rows WHERE name = ? AND key = ?", [row for row in rows if row[0]])
        store.executemany("DELETE FROM forecasts WHERE series = ?", [(key,) for name, key in rows if not name])
        counted = "SELECT count(*) FROM keyed_rows WHERE keyed_rows.name = contents.name"
        store.execute(f"UPDATE contents SET rows = ({counted}) WHERE name != 'forecasts'")
        store.execute("UPDATE store SET version = ?", (version,))
        store.execute("COMMIT")
        store.execute("VACUUM")


def _samples(env: Environment, where: Where) -> list[Path]:
    found = [env.state / "duplicates" / f"{dataset.table}.json" for dataset in where.datasets]
    return [path for path in found if path.is_file()]


def _profiles(env: Environment, where: Where, listed: Suppressed) -> list[Path]:
    """Reports and records of profiles that show a value of people of the list, as one of the most frequent, say."""
    reports, records = (env.reports / "profiles").rglob("*.html"), (env.state / "profiles").rglob("*.json")
    return sorted(path for path in (*reports, *records) if _shows(path.read_text(encoding="utf-8"), where, listed))


def _shows(document: str, where: Where, listed: Suppressed) -> bool:
    """Whether a text of the HTML or JSON, or a word of one, identifies people of the list."""
    texts = {html.unescape(text) for text in _TEXT.findall(document)}
    words = {word for text in texts for word in _WORD.findall(text)}
    return any(listed.names(where.subject, each) for each in texts | words)


def _notebooks(env: Environment) -> list[Path]:
    return sorted((env.reports / "notebooks").rglob("*.ipynb"))
