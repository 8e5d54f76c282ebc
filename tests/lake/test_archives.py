"""Packed lake files: told by content, unpacked within limits, and each file of an archive by itself."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import zipfile
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.lake.options import Limits
from caudal.lake.readers.members import Refused, members
from caudal.lake.readers.rows import LakeFile, Unreadable
from caudal.warehouse.parts import Quarantined

TEXT = b"a\n1\n2\n"


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


@pytest.fixture
def unpacked(contract_of, tmp_path):
    """What is to be read of a file of the given content: name -> content, or the reason why not."""
    from caudal.lake.dataset import Dataset

    def read(content, file_format="csv", **settings):
        file, into = tmp_path / "f.dat", tmp_path / "into"
        file.write_bytes(content)
        into.mkdir(exist_ok=True)
        dataset = Dataset("t", "t", file_format, contract_of("a"), **settings)
        found = {}
        try:
            for one in members(dataset, LakeFile("t/t/f.dat", "1", file), into):
                if isinstance(one, Refused):
                    found[one.member] = one.reason
                else:
                    assert one.temporary == (one.file != file)
                    found[one.member] = one.file.read_bytes()
                    if one.temporary:
                        one.file.unlink()
        finally:
            assert not list(into.iterdir())
        return found

    return read


def archive(*entries, method=zipfile.ZIP_DEFLATED):
    """A zip archive of (name or ZipInfo, content)."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return sink.getvalue()


@pytest.mark.parametrize("kind", PACKERS)
def test_a_compressed_file_is_told_by_its_content_and_read_as_what_it_holds(unpacked, kind):
    pack = PACKERS[kind]
    assert unpacked(pack(TEXT)) == unpacked(pack(TEXT), compression=kind) == {None: TEXT}
    large = bytes(range(1, 256)) * 8_000
    assert unpacked(pack(large)) == {None: large}


@pytest.mark.parametrize("kind", PACKERS)
def test_streams_one_after_the_other_are_one(unpacked, kind):
    pack = PACKERS[kind]
    assert unpacked(pack(b"a\n1\n") + pack(b"2\n")) == {None: TEXT}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_that_is_cut_damaged_or_followed_by_something_is_refused(unpacked, kind):
    pack = PACKERS[kind]
    whole = pack(TEXT * 1000)
    for cut in range(12, len(whole)):
        with pytest.raises(Unreadable, match=r"t/t/f.dat: .*(damaged|end)"):
            unpacked(whole[:cut])
    with pytest.raises(Unreadable, match=r"follows|damaged"):
        unpacked(whole + b"garbage")
    with pytest.raises(Unreadable, match=r"follows|damaged"):
        unpacked(whole + pack(TEXT)[:12])


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz"])
def test_zeros_that_pad_the_end_are_nothing(unpacked, kind):
    assert unpacked(PACKERS[kind](TEXT) + b"\0" * 512) == {None: TEXT}


def test_a_file_that_is_not_packed_as_declared_is_refused_with_what_it_is(unpacked):
    with pytest.raises(Unreadable, match=r"the dataset declares `compression: gzip`, and this is bzip2-compressed data"):
        unpacked(bz2.compress(TEXT), compression="gzip")
    with pytest.raises(Unreadable, match=r"perhaps not packed at all"):
        unpacked(TEXT, compression="zip")
    assert unpacked(gzip.compress(TEXT), compression="none") == {None: gzip.compress(TEXT)}
    assert unpacked(TEXT) == unpacked(TEXT, compression="none") == {None: TEXT}
    assert unpacked(b"BZhello\n") == {None: b"BZhello\n"}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_is_refused_at_the_limit_and_nothing_is_left(unpacked, kind):
    bomb = PACKERS[kind](b"0" * (8 << 20))
    with pytest.raises(Unreadable, match=r"times as much.*`limits.ratio`"):
        unpacked(bomb, limits=Limits(ratio=100, ratio_from_bytes=1 << 20))
    with pytest.raises(Unreadable, match=r"larger than 4 MiB.*`limits.unpacked_bytes`"):
        unpacked(bomb, limits=Limits(unpacked_bytes=4 << 20))
    with pytest.raises(Unreadable, match=r"not enough free disk"):
        unpacked(bomb, limits=Limits(free_disk_bytes=1 << 60))
    assert len(unpacked(bomb)[None]) == 8 << 20


def test_each_file_of_an_archive_is_read_by_itself(unpacked):
    packed = archive(("2024/a.csv", "a\n1\n"), ("b.csv", "a\n2\n"), ("c.csv.gz", gzip.compress(TEXT)))
    assert unpacked(packed) == {"2024/a.csv": b"a\n1\n", "b.csv": b"a\n2\n", "c.csv.gz": TEXT}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_may_be_packed_in_any_usual_way(unpacked, method):
    assert unpacked(archive(("a", TEXT), ("empty", b""), method=method)) == {"a": TEXT, "empty": b""}


def test_folders_and_what_no_person_put_there_are_skipped(unpacked):
    packed = archive(("d/", b""), ("d/a.csv", TEXT), ("__MACOSX/d/._a.csv", b"x"), (".DS_Store", b"x"), ("d/.hidden/b", b"x"))
    assert unpacked(packed) == {"d/a.csv": TEXT}


def test_members_are_chosen_by_a_glob_and_an_archive_without_any_is_refused(unpacked):
    packed = archive(("d/a.csv", TEXT), ("readme.txt", b"x"))
    assert unpacked(packed, members="*.csv") == {"d/a.csv": TEXT}
    with pytest.raises(
        Unreadable, match=r"no file of the archive matches `members: \*.json`; there are `d/a.csv`, `readme.txt`"
    ):
        unpacked(packed, members="*.json")
    for nothing in (archive(), archive(("d/", b""))):
        with pytest.raises(Unreadable, match=r"there is no file in the archive"):
            unpacked(nothing)


@pytest.mark.parametrize("name", ["../a.csv", "/etc/passwd", "d/../../a.csv", "C:\\a.csv", "d\\..\\..\\a.csv", "\\\\host\\a"])
def test_a_member_that_leads_out_of_the_archive_is_refused_and_the_others_are_read(unpacked, name):
    found = unpacked(archive((name, TEXT), ("good.csv", TEXT)))
    assert found["good.csv"] == TEXT
    assert found[name] == f"t/t/f.dat!{name}: its name leads out of the archive (an absolute path, a drive or `..`)"


def test_links_encrypted_members_other_methods_and_archives_in_archives_are_refused_one_by_one(unpacked):
    link = zipfile.ZipInfo("link.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    packed = bytearray(
        archive((link, b"/etc/passwd"), ("in.csv", archive(("a", TEXT))), ("e.csv", TEXT), ("m.csv", TEXT), ("g.csv", TEXT))
    )
    for name, offset, value in ((b"e.csv", 6, 1), (b"m.csv", 8, 14)):
        local = packed.find(name) - 30
        central = packed.rfind(name) - 46
        struct.pack_into("<H", packed, local + offset, value)
        struct.pack_into("<H", packed, central + offset + 2, value)
    found = unpacked(bytes(packed))
    assert found.pop("g.csv") == TEXT
    for name, reason in {
        "link.csv": "a link",
        "in.csv": "a zip archive in a zip",
        "e.csv": "encrypted",
        "m.csv": "LZMA",
    }.items():
        assert reason in found.pop(name)
    assert not found


def test_of_members_of_one_name_none_is_read(unpacked):
    with pytest.warns(UserWarning, match=r"Duplicate"):
        packed = archive(("a.csv", TEXT), ("a.csv", b"other"), ("A.CSV", b"x"), ("b.csv", TEXT))
    found = unpacked(packed)
    assert found.pop("b.csv") == TEXT
    assert set(found) == {"a.csv", "A.CSV"}
    assert all("more than once" in reason for reason in found.values())


def test_a_member_that_is_not_what_the_archive_says_is_refused(unpacked):
    good = archive(("a.csv", TEXT * 100), ("b.csv", TEXT))
    for field, value in ((24, 5), (24, 10**6), (16, 99)):
        packed = bytearray(good)
        struct.pack_into("<I", packed, packed.rfind(b"a.csv") - 46 + field, value)
        found = unpacked(bytes(packed))
        assert found["b.csv"] == TEXT
        assert any(word in found["a.csv"] for word in ("larger", "smaller", "checksum"))
    packed = bytearray(good)
    packed[packed.find(b"b.csv")] = ord("x")
    assert "its own header says something else" in unpacked(bytes(packed))["b.csv"]


def test_entries_that_lie_upon_each_other_are_a_bomb(unpacked):
    packed = bytearray(archive(("a.csv", TEXT * 100), ("b.csv", TEXT)))
    struct.pack_into("<I", packed, packed.rfind(b"b.csv") - 46 + 42, 0)
    packed[packed.rfind(b"b.csv")] = ord("a")
    with pytest.raises(Unreadable, match=r"lies upon what follows it, as in a zip bomb"):
        unpacked(bytes(packed))


def test_an_archive_of_too_many_or_too_large_members_is_refused_before_anything_is_unpacked(unpacked):
    packed = archive(*((f"{i}.csv", TEXT) for i in range(20)))
    with pytest.raises(Unreadable, match=r"the archive has 20 entries; at most 10"):
        unpacked(packed, limits=Limits(members=10))
    with pytest.raises(Unreadable, match=r"larger than 100 bytes"):
        unpacked(packed, limits=Limits(unpacked_bytes=100))


def test_an_archive_that_is_cut_joined_or_hides_an_entry_is_refused(unpacked):
    good = archive(("a.csv", TEXT), ("b.csv", TEXT))
    for cut in range(4, len(good)):
        with pytest.raises(Unreadable, match=r"t/t/f.dat: "):
            unpacked(good[:cut])
    for joined in (good + good, good + b"more"):
        with pytest.raises(Unreadable, match=r"before its first entry|follows its end|not where"):
            unpacked(joined)
    hidden = bytearray(good)
    start = hidden.find(b"PK\x01\x02")
    length = 46 + len("a.csv")
    del hidden[start + length : start + 2 * length]
    end = hidden.find(b"PK\x05\x06")
    struct.pack_into("<HHI", hidden, end + 8, 1, 1, length)
    with pytest.raises(Unreadable, match=r"does not list"):
        unpacked(bytes(hidden))


def test_a_workbook_is_not_unpacked_where_workbooks_are_expected(unpacked):
    book = archive(("[Content_Types].xml", "<x/>"), ("xl/workbook.xml", "<x/>"))
    assert unpacked(book, "excel") == {None: book}
    assert unpacked(book[:50], "excel") == {None: book[:50]}
    assert unpacked(archive(("a.xlsx", book)), "excel") == {"a.xlsx": book}
    assert unpacked(gzip.compress(book), "excel") == {None: book}


@pytest.fixture
def loaded(env, contract_of, tmp_path):
    """Normalize lake files of the given contents: (name, content)."""
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import normalize_many

    def load(*files, file_format="csv", **settings):
        taken = []
        for name, content in files:
            (tmp_path / name).write_bytes(content)
            taken.append(LakeFile(f"t/t/{name}", "1", tmp_path / name))
        dataset = Dataset("t", "t", file_format, contract_of("a"), **settings)
        into = tmp_path / "parts"
        with connect_memory(env) as connection:
            results = list(normalize_many(connection, dataset, taken, loaded_at=datetime(2020, 1, 1, tzinfo=UTC), into=into))
        assert not list(into.glob("*.unpacked"))
        assert all((tmp_path / name).exists() for name, _ in files)
        return results

    return load


def test_members_are_normalized_and_quarantined_by_themselves_and_nothing_unpacked_is_left(loaded):
    packed = archive(
        ("2024/a.csv", "a\n1\n2\n"),
        ("b.csv", "x\n1\n"),
        ("c.csv", "a\n1,2\n3\n"),
        ("../d.csv", "a\n1\n"),
        ("e.csv", b"a\n\xff\n"),
    )
    results = loaded(("o.zip", packed), ("p.csv.gz", gzip.compress(b"a\n9\n")), ("q.csv", b"a\n8\n"))
    quarantined = {q.member: q.reason for q in results if isinstance(q, Quarantined)}
    counts = {
        (c.path, c.member): (c.rows_read, c.rows_loaded, c.rows_rejected)
        for r in results
        if not isinstance(r, Quarantined)
        for c in r.files
    }
    assert counts == {
        ("t/t/o.zip", "2024/a.csv"): (2, 2, 0), ("t/t/o.zip", "c.csv"): (2, 1, 1), ("t/t/p.csv.gz", None): (1, 1, 0),
        ("t/t/q.csv", None): (1, 1, 0),
    }  # fmt: skip
    assert set(quarantined) == {"b.csv", "../d.csv", "e.csv"}
    assert quarantined["e.csv"].startswith("t/t/o.zip!e.csv, line 2, byte 1: 0xFF is not utf-8 text")
    parts = [pq.read_table(r.part) for r in results if not isinstance(r, Quarantined)]
    assert {f for part in parts for f in part["_file"].to_pylist()} == {
        "t/t/o.zip!2024/a.csv",
        "t/t/o.zip!c.csv",
        "t/t/p.csv.gz",
        "t/t/q.csv",
    }


def test_what_was_unpacked_is_deleted_when_the_caller_stops(loaded, env, contract_of, tmp_path):
    from caudal.lake.dataset import Dataset
    from caudal.warehouse.engine import connect_memory
    from caudal.warehouse.parts import normalize_many

    file, into = tmp_path / "o.zip", tmp_path / "parts"
    file.write_bytes(archive(*((f"{i}.csv", TEXT) for i in range(5)), ("z.csv", "x\n")))
    with connect_memory(env) as connection:
        results = normalize_many(
            connection, Dataset("t", "t", "csv", contract_of("a")), [LakeFile("t/t/o.zip", "1", file)],
            loaded_at=datetime(2020, 1, 1, tzinfo=UTC), into=into,
        )  # fmt: skip
        assert next(results).member == "z.csv"
        assert len(list(into.glob("*.unpacked"))) >= 5
        results.close()
    assert not list(into.glob("*.unpacked"))


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro", "jsonl", "json", "xml", "fixed_width", "excel"])
def test_every_format_may_be_packed(loaded, file_format):
    content, settings = packed_table(file_format)
    for name, packed in (
        ("f.gz", gzip.compress(content)),
        ("f.zst", zstd(content)),
        ("f.zip", archive(("a", content), ("b", content))),
    ):
        counts = [c for r in loaded((name, packed), file_format=file_format, **settings) for c in r.files]
        assert [c.rows_loaded for c in counts] == [2] * (2 if name == "f.zip" else 1)


def packed_table(file_format):
    """A file of the column `a` with two rows, and the settings that it is read with."""
    from pyarrow import orc

    from caudal.lake.options import FixedWidthOptions, XmlOptions

    sink, table = io.BytesIO(), pa.table({"a": ["1", "2"]})
    match file_format:
        case "parquet":
            pq.write_table(table, sink)
        case "orc":
            orc.write_table(table, sink)
        case "avro":
            import fastavro

            schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}]}
            fastavro.writer(sink, fastavro.parse_schema(schema), table.to_pylist())
        case "excel":
            import xlsxwriter

            with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
                book.add_worksheet("S").write_column(0, 0, ["a", "1", "2"])
        case "jsonl":
            sink.write(b'{"a":"1"}\n{"a":"2"}\n')
        case "json":
            sink.write(b'[{"a":"1"},{"a":"2"}]')
        case "xml":
            sink.write(b"<r><x><a>1</a></x><x><a>2</a></x></r>")
        case "fixed_width":
            sink.write(b"1 \n2 \n")
    settings = {"xml": {"xml": XmlOptions("r/x")}, "fixed_width": {"fixed_width": FixedWidthOptions({"a": (1, 2)})}}
    return sink.getvalue(), settings.get(file_format, {})


def test_a_workbook_in_an_archive_that_is_none_is_refused_and_leaves_nothing(loaded):
    book, _ = packed_table("excel")
    results = loaded(
        ("f.zip", archive(("good.xlsx", book), ("bad.xlsx", book[:-200]), ("text.xlsx", b"a\n1\n"))),
        file_format="excel",
    )
    assert {r.member for r in results if isinstance(r, Quarantined)} == {"bad.xlsx", "text.xlsx"}
    assert [c.rows_loaded for r in results if not isinstance(r, Quarantined) for c in r.files] == [2]


class Pipe(io.BytesIO):
    """A sink that cannot go back, as a pipe: sizes are written after the data."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation

    def tell(self):
        raise io.UnsupportedOperation


def test_an_archive_that_was_written_to_a_pipe_or_with_wide_sizes_is_read(unpacked):
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.csv", TEXT)
        packed.writestr("b.csv", TEXT * 2)
    assert unpacked(pipe.getvalue()) == {"a.csv": TEXT, "b.csv": TEXT * 2}
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w") as packed, packed.open("a.csv", "w", force_zip64=True) as member:
        member.write(TEXT)
    assert unpacked(wide.getvalue()) == {"a.csv": TEXT}
