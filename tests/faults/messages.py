"""Lake files of random content: plain, compressed, archives; with rows that are refused, a column more, or nothing that can be read.

`rows_of` reads them back with the standard library alone, for what must be in the raw table.
"""

import csv
import gzip
import io
import random
import uuid
import zipfile
from pathlib import Path

KINDS = ("csv", "csv.gz", "zip")


def message(chance: random.Random, files: int) -> tuple[str, bytes]:
    """A file's name and content."""
    kind = chance.choice(KINDS)
    name = f"{chance.randrange(files)}.{kind}"
    if chance.random() < 0.05:
        return name, b""
    if kind == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for member in range(chance.randrange(1, 4)):
                archive.writestr(f"{member}.csv", _table(chance))
        return name, packed.getvalue()
    return name, gzip.compress(_table(chance)) if kind == "csv.gz" else _table(chance)


def _table(chance: random.Random) -> bytes:
    coloured = chance.random() < 0.3
    lines = ["item,units,amount" + (",colour" if coloured else "")]
    for n in range(chance.randrange(6)):
        units = "many" if chance.random() < 0.1 else str(n)
        lines.append(f"{uuid.uuid4().hex},{units},1.50" + (f",c{n}" if coloured else ""))
    return ("\n".join(lines) + "\n").encode()


def rows_of(file: Path) -> tuple[list[tuple[str, str, str | None]], int]:
    """What is to be loaded of a lake file, as (name, item, colour), and how many rows are to be rejected."""
    content = file.read_bytes()
    tables = {file.name: content}
    if not content:
        return [], 0
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            tables = {f"{file.name}!{name}": archive.read(name) for name in archive.namelist()}
    elif file.suffix == ".gz":
        tables = {file.name: gzip.decompress(content)}
    good, bad = [], 0
    for name, table in tables.items():
        for row in csv.DictReader(io.StringIO(table.decode())):
            if row["units"] == "many":
                bad += 1
            else:
                good.append((name, row["item"], row.get("colour")))
    return good, bad
