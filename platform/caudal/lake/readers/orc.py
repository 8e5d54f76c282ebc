"""ORC, stripe by stripe. Values keep the type that the file gives them; nothing is cut on the way.

A timestamp outside the years 1677 to 2262, which 64 bits of nanoseconds do not hold, makes the file one that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.lake.readers.content import head_of, recognised
from caudal.lake.readers.drift import match_columns, undeclared_columns
from caudal.lake.readers.parquet import carried
from caudal.lake.readers.parquet_types import kind_of
from caudal.lake.readers.rows import BATCH_ROWS, Problem, Rows, SourceColumn, Unreadable, batch_of, consecutive

if TYPE_CHECKING:
    import pyarrow as pa

    from caudal.lake.dataset import Dataset

#: Reading a stripe takes about so many times its size: it is compressed, and held in memory.
_EXPANSION = 5


def read_orc(dataset: Dataset, file: Path, path: str) -> Rows:
    """The rows of one file.

    Raises:
        Unreadable: it is no whole ORC file, has other columns than the contract, or one of a type that cannot be kept.

    """
    import pyarrow as pa
    from pyarrow import orc

    head = head_of(file, path, "an ORC file")
    if not head.startswith(b"ORC"):
        found = recognised(head) or "something else, perhaps text"
        raise Unreadable(f"{path}: this is {found}, not an ORC file. Deliver ORC, or declare the format otherwise")
    try:
        with file.open("rb") as opened:
            schema = orc.ORCFile(opened).schema
    except (pa.ArrowException, OSError, ValueError) as broken:
        raise _broken(path, broken, file) from None
    matched = match_columns(schema.names, dataset.contract, path, "its schema")
    places = zip(dataset.contract.column_names, matched.positions, strict=True)
    fields = {name: schema.field(place) for name, place in places if place is not None}
    columns = tuple(_source_column(name, field, path) for name, field in fields.items())
    names = [field.name for field in fields.values()]
    weight = file.stat().st_size * _EXPANSION
    return Rows(columns, lambda: _read(columns, names, file, path), undeclared_columns(schema, matched.ignored), weight)


def _source_column(name: str, field: pa.Field, path: str) -> SourceColumn:
    found = kind_of(field.type)
    if found is None:
        raise Unreadable(
            f"{path}, column `{name}`: its type {field.type} cannot be kept exactly. "
            "Write it as text, a number, a date or a timestamp"
        )
    return SourceColumn(name, *found)


def _read(columns: Sequence[SourceColumn], names: Sequence[str], file: Path, path: str) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import orc

    first = 1
    try:
        with file.open("rb") as source:
            opened = orc.ORCFile(source)
            # A name with a point would be taken for a place inside a struct.
            wanted = None if any("." in name for name in opened.schema.names) else list(names)
            for number in range(opened.nstripes):
                stripe = opened.read_stripe(number, wanted)
                for start in range(0, stripe.num_rows, BATCH_ROWS):
                    batch = stripe.slice(start, BATCH_ROWS)
                    problems: dict[int, Problem] = {}
                    arrays = [carried(batch[n], c, problems) for n, c in zip(names, columns, strict=True)]
                    yield batch_of(arrays, [c.name for c in columns], consecutive(first, batch.num_rows), problems)
                    first += batch.num_rows
            if first - 1 != opened.nrows:
                raise _broken(path, ValueError(f"it has {first - 1} rows and says that it has {opened.nrows}"), file)
    except (pa.ArrowException, OSError, ValueError) as broken:
        raise _broken(path, broken, file) from None


def _broken(path: str, broken: Exception, file: Path) -> Unreadable:
    why = " ".join(str(broken).replace(str(file), path).split())[:300]
    return Unreadable(f"{path}: the ORC file is damaged, was not written to its end, or cannot be kept ({why})")
