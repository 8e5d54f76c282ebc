"""Lake files of every format without a person's rows: the other rows stay, the person's values are nowhere in the bytes."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import orc

from caudal.lake.dataset import CsvOptions
from caudal.lake.options import FixedWidthOptions, JsonOptions, XmlOptions
from caudal.runtime.erasure.lake_files import LakeFiles, work_folder
from caudal.runtime.erasure.rewriting import CannotRewrite, avro_blocks
from caudal.runtime.erasure.rewriting.packing import take_out_packed
from caudal.warehouse.suppression import entry_of
from tests.runtime.erasure.conftest import CONTRACT, MARKER

SOME = [("ben", "pear", 2), (MARKER, "fig", 3), ("cleo", "kiwi", 4), (MARKER, "nut", 5), ("dora", "plum", 6)]
OTHERS = [row for row in SOME if row[0] != MARKER]
NAMES = ("customer", "item", "units")
PATH = "stall/sales/a.file"


class Rewriting:
    """Puts bytes into the lake, takes the person out of them, and gives what is there then."""

    def __init__(self, env, declare, work):
        self.env, self._declare, self._work = env, declare, work
        self.listed = entry_of(env, "customer", MARKER, "x")

    def files(self, **given):
        dataset = self._declare(CONTRACT, **({"path": "*"} | given))
        columns = [c for c in dataset.contract.columns if c.subject]
        return LakeFiles(self.env, dataset, columns, self.listed, self._work)

    def put(self, content: bytes) -> Path:
        target = self.env.lake / PATH
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def __call__(self, content: bytes, rows: int = 2, **given) -> bytes:
        target, files = self.put(content), self.files(**given)
        assert files.rewrite(PATH, only_try=True).rows == rows
        assert target.read_bytes() == content
        assert files.rewrite(PATH).rows == rows
        after = files.look(PATH)
        assert (after.count, after.unreadable) == (0, [])
        return target.read_bytes()


@pytest.fixture
def rewrite(env, declare):
    with work_folder(env) as work:
        yield Rewriting(env, declare, work)


def csv(rows=SOME, header=True, end="\n") -> str:
    lines = [",".join(NAMES)] * header + [",".join(map(str, row)) for row in rows]
    return "".join(f"{line}{end}" for line in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be", "utf-32", "cp037", "shift_jis"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_keeps_encoding_mark_and_line_ends(rewrite, encoding, end):
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    left = rewrite(csv(end=end).encode(encoding), csv=CsvOptions(encoding=declared))
    assert left == csv(OTHERS, end=end).encode(encoding)


def test_csv_rows_of_several_lines_comments_titles_and_footers_stay(rewrite):
    text = (
        'A report\n\ncustomer;item;units\n# from here on\nben;"two\nlines";1\n'
        f'{MARKER};"the\n\nperson\'s ""own""";2\n# amid\n\ncleo;"a;b";3\nbad;line\n{MARKER};x;many\n'
        f"dora;kiwi;4\n{MARKER};last;9\nTotal;;19\n"
    )
    options = CsvOptions(delimiter=";", comment="#", skip_lines=1, skip_footer=1)
    left = rewrite(text.encode(), 3, csv=options).decode()
    assert left == (
        'A report\n\ncustomer;item;units\n# from here on\nben;"two\nlines";1\n'
        '# amid\n\ncleo;"a;b";3\nbad;line\ndora;kiwi;4\nTotal;;19\n'
    )


def test_csv_found_out_and_escaped_is_as_it_was(rewrite):
    assert rewrite(csv().replace(",", "\t").encode(), csv=CsvOptions("auto", encoding="auto")) == (
        csv(OTHERS).replace(",", "\t").encode()
    )
    escaped = f"ben,a\\\nb,1\n{MARKER},c\\\nd,2\n{MARKER},e\\,f,3\ncleo,g,4".encode()
    options = CsvOptions(escape="\\", header=False)
    assert rewrite(escaped, csv=options) == b"ben,a\\\nb,1\ncleo,g,4"


@pytest.mark.parametrize("content", [csv(SOME[1:2]), csv(SOME[1:2]).rstrip()])
def test_a_file_of_the_person_alone_still_reads(rewrite, content):
    assert rewrite(content.encode(), 1) == b"customer,item,units\n"
    assert rewrite(content.partition("\n")[2].encode(), 1, csv=CsvOptions(header=False)) == b"\n"
    line = json.dumps(dict(zip(NAMES, SOME[1], strict=True))).encode()
    assert rewrite(line, 1, format="jsonl") == b"\n"
    assert rewrite(b"[" + line + b"]", 1, format="json") == b"[]"


WORDS = st.text(st.sampled_from('ab",\n\r é;#\\'), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(st.sampled_from(["ben", MARKER, "cleo"]), WORDS, st.booleans()), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16-le"]),
    is_ended=st.booleans(),
)
def test_of_any_csv_just_the_lines_of_the_person_go(rewrite, tmp_path, rows, end, encoding, is_ended):
    def written(kept):
        quoted = [f'{who},"{what.replace(chr(34), chr(34) * 2)}",{1 if good else "x"}' for who, what, good in kept]
        return "".join(f"{line}{end}" for line in [",".join(NAMES), *quoted])

    text = written(rows) if is_ended else written(rows).removesuffix(end)
    places, line = [], 2
    for row in rows:
        places.append(line)
        line += written([row]).count("\n") - 1
    gone = [place for place, (who, *_) in zip(places, rows, strict=True) if who == MARKER]
    held, target = tmp_path / "held.csv", tmp_path / "target.csv"
    held.write_bytes(text.encode(encoding))
    dataset = rewrite.files(csv=CsvOptions(encoding=encoding)).dataset
    take_out_packed(dataset, held, {None: gone}, target, tmp_path)
    left = written([row for row in rows if row[0] != MARKER])
    if not is_ended and rows[-1][0] != MARKER:
        left = left.removesuffix(end)
    assert target.read_bytes() == left.encode(encoding)


def test_json_lines_and_fixed_width(rewrite):
    def lines(rows):
        return "".join(f"{json.dumps(dict(zip(NAMES, row, strict=True)))}\r\n" for row in rows).encode("utf-16")

    assert rewrite(lines(SOME), format="jsonl", encoding="utf-16") == lines(OTHERS)

    def fixed(rows):
        return "TITLE\n\n" + "".join(f"{who:<20}{item:<6}{units:>3}\n" for who, item, units in rows) + "END\n"

    options = FixedWidthOptions(widths=(20, 6, 3), skip_lines=1, skip_footer=1)
    assert rewrite(fixed(SOME).encode(), format="fixed_width", fixed_width=options) == fixed(OTHERS).encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_json_keeps_what_stands_around_and_between(rewrite, encoding):
    def element(row):
        return f"\n   {json.dumps(dict(zip(NAMES, row, strict=True)) | {'x': [1, {'a': '},]' + chr(34)}]}, indent=1)}  "

    def document(rows):
        return '{ "about": [{"é": "[,"}], "data" : {"rows":[' + ",".join(map(element, rows)) + '\n]}, "end": {"}": []} }\n'

    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    contract = CONTRACT.replace("schema:", "customProperties: [{property: driftPolicy, value: ignore}]\nschema:")
    rewrite._declare = lambda _, declare=rewrite._declare, **given: declare(contract, **given)
    left = rewrite(document(SOME).encode(encoding), format="json", json=JsonOptions("data.rows"), encoding=declared)
    assert left == document(OTHERS).replace("  \n]", "  ]" if OTHERS[-1] != SOME[-1] else "  \n]").encode(encoding)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    values=st.lists(
        st.dictionaries(st.text(max_size=3), st.text(max_size=4) | st.lists(st.integers(), max_size=2)), max_size=6
    ),
    gone=st.sets(st.integers(1, 6)),
    indent=st.sampled_from([None, 1]),
)
def test_of_any_json_array_just_the_elements_go(rewrite, tmp_path, monkeypatch, values, gone, indent):
    monkeypatch.setattr("caudal.runtime.erasure.rewriting.elements._PIECE_BYTES", 7)
    held, target = tmp_path / "held.json", tmp_path / "target.json"
    held.write_text(json.dumps({"a": values}, indent=indent, ensure_ascii=False), encoding="utf-8")
    dataset = rewrite.files(format="json", json=JsonOptions("a")).dataset
    take_out_packed(dataset, held, {None: gone}, target, tmp_path)
    assert json.loads(target.read_text(encoding="utf-8"))["a"] == [v for n, v in enumerate(values, 1) if n not in gone]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_keeps_what_stands_around_and_between(rewrite, encoding):
    def element(row):
        who, item, units = row
        return f'<!-- é --><sale customer="{who}" item=">&lt;{item}" units="{units}"/>\n <?note é?>'

    def document(rows):
        body = "".join(map(element, SOME))
        for row in SOME:
            if row not in rows:
                body = body.replace(element(row), "<!-- é -->\n <?note é?>")
        return f'<?xml version="1.0" encoding="{encoding}"?>\n<all><meta/>{body}<sale><![CDATA[]]></sale></all>\n'

    contract = CONTRACT.replace("name: customer", 'name: "@customer"').replace("name: item", 'name: "@item"')
    contract = contract.replace("name: units", 'name: "@units"').replace("required: true", "required: false")
    rewrite._declare = lambda _, declare=rewrite._declare, **given: declare(contract, **given)
    left = rewrite(document(SOME).encode(encoding), format="xml", xml=XmlOptions("all/sale"))
    assert left == document(OTHERS).encode(encoding)


def table(rows=SOME) -> pa.Table:
    names, items, units = zip(*rows, strict=True)
    return pa.table(
        {
            "customer": pa.array(names).dictionary_encode(),
            "item": pa.array(items),
            "units": pa.array(units, pa.int16()),
        }
    ).replace_schema_metadata({"written by": "a till"})


def test_parquet_keeps_schema_and_compression_and_no_dictionary_or_bound_of_the_person(rewrite):
    made = io.BytesIO()
    pq.write_table(table(), made, row_group_size=3, compression={"customer": "NONE", "item": "GZIP", "units": "ZSTD"})
    left = rewrite(made.getvalue(), format="parquet")
    assert MARKER.encode() not in left
    opened = pq.ParquetFile(io.BytesIO(left))
    assert opened.schema_arrow.equals(pq.ParquetFile(made).schema_arrow, check_metadata=True)
    assert opened.read().to_pylist() == table(OTHERS).to_pylist()
    group = opened.metadata.row_group(0)
    assert [group.column(i).compression for i in range(3)] == ["UNCOMPRESSED", "GZIP", "ZSTD"]
    assert opened.num_row_groups == 2
    alone = io.BytesIO()
    pq.write_table(table(SOME[1:2]), alone)
    assert pq.read_table(io.BytesIO(rewrite(alone.getvalue(), 1, format="parquet"))).num_rows == 0


def test_orc_keeps_schema_and_compression(rewrite):
    made = io.BytesIO()
    plain = table().set_column(0, "customer", table()["customer"].cast(pa.string()))
    orc.write_table(plain, made, compression="zlib")
    left = orc.ORCFile(io.BytesIO(rewrite(made.getvalue(), format="orc")))
    assert left.read().to_pylist() == table(OTHERS).to_pylist()
    assert left.compression == "ZLIB"


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_avro_keeps_header_and_blocks_without_the_person(rewrite, codec):
    schema = {
        "type": "record",
        "name": "sale",
        "fields": [
            {"name": "customer", "type": "string"},
            {"name": "item", "type": ["null", "string"]},
            {"name": "units", "type": "int"},
        ],
    }
    content = avro(schema, codec)
    left = rewrite(content, format="avro")
    ends = [content.index(b"s" * 16) + 16]
    while ends[-1] < len(content):
        ends.append(content.index(b"s" * 16, ends[-1]) + 16)
    assert left.startswith(content[: ends[0]])
    assert left.endswith(content[ends[-2] :])
    assert MARKER.encode() not in left


def avro(schema, codec) -> bytes:
    """A file with a block for each two rows."""
    content = b"Obj\x01" + avro_blocks._long(2)
    for name, value in (("avro.schema", json.dumps(schema)), ("avro.codec", codec)):
        content += avro_blocks._long(len(name)) + name.encode() + avro_blocks._long(len(value)) + value.encode()
    content += avro_blocks._long(0) + b"s" * 16
    for start in range(0, len(SOME), 2):
        body, rows = io.BytesIO(), SOME[start : start + 2]
        for row in rows:
            fastavro.schemaless_writer(body, schema, dict(zip(NAMES, row, strict=True)))
        packed = avro_blocks._packed(body.getvalue(), codec)
        content += avro_blocks._long(len(rows)) + avro_blocks._long(len(packed)) + packed + b"s" * 16
    return content


@pytest.mark.parametrize(("pack", "unpack"), [(m.compress, m.decompress) for m in (gzip, bz2, lzma)])
def test_compressed_files_stay_compressed(rewrite, pack, unpack):
    left = rewrite(pack(csv(SOME[:2]).encode()) + pack(csv(SOME[2:], header=False).encode()))
    assert left[:2] == pack(b"")[:2]
    assert unpack(left) == csv(OTHERS).encode()


def test_zstd_stays_zstd(rewrite):
    left = rewrite(pa.compress(csv().encode(), codec="zstd", asbytes=True))
    assert pa.CompressedInputStream(pa.BufferReader(left), "zstd").read() == csv(OTHERS).encode()


def test_an_archive_keeps_its_other_members_and_names_those_no_load_reads(rewrite):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.comment = b"June"
        archive.writestr(zipfile.ZipInfo("a.csv", (2020, 1, 2, 3, 4, 6)), csv(), zipfile.ZIP_DEFLATED)
        archive.writestr("b.csv", csv(OTHERS), zipfile.ZIP_BZIP2)
        archive.writestr("c/d.csv", gzip.compress(csv(SOME[:2]).encode()))
        archive.writestr("note.txt", f"for {MARKER}")
    left = rewrite(made.getvalue(), 3, members="*.csv")
    with zipfile.ZipFile(io.BytesIO(left)) as archive:
        assert archive.comment == b"June"
        assert archive.read("a.csv") == archive.read("b.csv") == csv(OTHERS).encode()
        assert gzip.decompress(archive.read("c/d.csv")) == csv(OTHERS[:1]).encode()
        assert archive.getinfo("a.csv").date_time == (2020, 1, 2, 3, 4, 6)
        assert [i.compress_type for i in archive.infolist()] == [8, 12, 0, 0]
    told = rewrite.files(members="*.csv")
    rewrite.put(made.getvalue())
    assert "LOOK YOURSELF" in told.rewrite(PATH, only_try=True).told


def refused(rewrite, content: bytes, **given) -> str:
    target, files = rewrite.put(content), rewrite.files(**given)
    with pytest.raises(CannotRewrite) as stays:
        files.rewrite(PATH)
    assert target.read_bytes() == content
    assert not list(target.parent.glob(".*"))
    assert MARKER not in str(stays.value)
    return str(stays.value)


def test_a_workbook_stays_and_its_rows_are_named(rewrite):
    book, made = openpyxl.Workbook(), io.BytesIO()
    for row in [NAMES, *SOME]:
        book.active.append(row)
    book.save(made)
    told = refused(rewrite, made.getvalue(), format="excel")
    assert "LEFT AS IT IS, with 2 rows of the person (at 3, 5): a workbook is not written anew" in told
    assert "delete it" in told


def test_what_cannot_be_done_and_proved_is_left(rewrite, monkeypatch):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.csv", csv())
        archive.writestr("b.csv", "other,header\n")
    assert "a load cannot read all of it" in refused(rewrite, made.getvalue())
    lines = "".join(f"{row[0]}\n" for row in SOME[1:2])
    one = CONTRACT.partition("      - {name: item")[0]
    rewrite._declare, declare = (lambda _, **given: declare(one, **given)), rewrite._declare
    assert "would not be read as they are now" in refused(rewrite, lines.encode(), csv=CsvOptions(header=False))
    rewrite._declare = declare

    def without_too_many(_dataset, held, _gone, target):
        target.write_bytes(held.read_bytes().replace(b"cleo", b"clea"))

    monkeypatch.setattr("caudal.runtime.erasure.rewriting.lines.without_lines", without_too_many)
    assert "would not be read as they are now" in refused(rewrite, csv().encode())
    monkeypatch.setattr("caudal.runtime.erasure.rewriting.lines.without_lines", lambda *_: [].index(MARKER))
    assert "failed with ValueError" in refused(rewrite, csv().encode())


def test_a_file_that_changes_meanwhile_is_read_again(rewrite, monkeypatch):
    target, files = rewrite.put(csv().encode()), rewrite.files()
    before = files._written_anew
    newer = [csv([(MARKER, "late", 1), *OTHERS]).encode()]

    def and_change(held, path):
        done = before(held, path)
        if newer:
            target.unlink()
            target.write_bytes(newer.pop())
        return done

    monkeypatch.setattr(LakeFiles, "_written_anew", lambda _, held, path: and_change(held, path))
    assert files.rewrite(PATH).rows == 1
    assert target.read_bytes() == csv(OTHERS).encode()
