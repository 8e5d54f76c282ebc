"""Writes the broken files beside it: `python tests/lake/broken/make.py`. Each is named `<format>--<what is broken>.<extension>`."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

HERE = Path(__file__).parent
CSV = "".join(f"{a},{n}\n" for a, n in [("a", "n"), *((f"row {i}", i) for i in range(1, 40))]).encode()
TABLE = pa.table({"a": [f"row {i}" for i in range(200)], "n": range(200)})
LAUGHS = "<!DOCTYPE rows [" + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10)) + "]>"


def parquet(**settings):
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, **settings)
    return sink.getvalue().to_pybytes()


def orc_file():
    sink = pa.BufferOutputStream()
    orc.write_table(TABLE, sink)
    return sink.getvalue().to_pybytes()


def avro(codec="null"):
    sink = io.BytesIO()
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}, {"name": "n", "type": "long"}]}
    fastavro.writer(sink, fastavro.parse_schema(schema), TABLE.to_pylist(), codec=codec, sync_marker=b"0123456789abcdef")
    return sink.getvalue()


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def archive(*entries):
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        warnings.simplefilter("ignore")
        for name, content in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return sink.getvalue()


def workbook():
    import xlsxwriter

    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        book.set_properties({"created": __import__("datetime").datetime(2020, 1, 1)})
        sheet = book.add_worksheet("S")
        for row, values in enumerate([("a", "n"), *((f"row {i}", i) for i in range(40))]):
            sheet.write_row(row, 0, values)
    return sink.getvalue()


def changed(data, place, value):
    return data[:place] + value + data[place + len(value) :]


def lying(field, value):
    packed = archive(("a.csv", CSV), ("b.csv", CSV))
    return changed(packed, packed.rfind(b"a.csv") - 46 + field, struct.pack("<I", value))


def upon_each_other():
    packed = archive(("a.csv", CSV), ("b.csv", CSV))
    place = packed.rfind(b"b.csv")
    return changed(changed(packed, place - 46 + 42, struct.pack("<I", 0)), place, b"a")


def link():
    info = zipfile.ZipInfo("a.csv", (2020, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted():
    packed = archive(("a.csv", CSV))
    for start in (packed.find(b"a.csv") - 30 + 6, packed.rfind(b"a.csv") - 46 + 8):
        packed = changed(packed, start, b"\x01")
    return packed


def avro_of(schema, block, count=1):
    def long(n):
        n, out = n << 1, b""
        while n >= 0x80:
            out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
        return out + bytes([n])

    sync = b"0123456789abcdef"
    head = b"Obj\x01" + long(1) + long(11) + b"avro.schema" + long(len(schema)) + schema + long(0) + sync
    return head + long(count) + long(len(block)) + block + sync


TWO_FIELDS = b'{"type":"record","name":"r","fields":[{"name":"a","type":"string"},{"name":"n","type":"long"}]}'
XLSX, PARQUET, ORC, AVRO = workbook(), parquet(), orc_file(), avro()
GZIP = gzip.compress(CSV, mtime=0)
FIXED = b"".join(f"row {i:<4}{i:>6}\n".encode() for i in range(30))

FILES = {
    "csv--empty.csv": b"",
    "csv--nul-bytes.csv": CSV + b"x\0y,1\n",
    "csv--nothing-but-nuls.csv": bytes(5000),
    "csv--half-a-character.csv": CSV + "é".encode()[:1],
    "csv--latin-1-inside.csv": CSV + "é,1\n".encode("latin-1"),
    "csv--utf-16-cut.csv": CSV.decode().encode("utf-16")[:-1],
    "csv--quote-never-closed.csv": CSV + b'"x,1\n' + CSV[4:],
    "csv--endless-line.csv.bz2": bz2.compress(CSV + b"x" * (20 << 20)),
    "csv--endless-quote.csv.bz2": bz2.compress(CSV + b'"' + (b"x" * 200 + b",1\n") * 100_000),
    "csv--carriage-returns-alone.csv": CSV.replace(b"\n", b"\r"),
    "csv--header-twice.csv": b"a,a\n1,2\n",
    "csv--other-header.csv": b"x,y\n1,2\n",
    "csv--values-missing.csv": CSV + b"only one\n",
    "csv--an-html-page.csv": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "csv--million-commas.csv.gz": gzip.compress(b"a,n\n" + b"," * 1_000_000 + b"\n", mtime=0),
    "gzip--truncated.csv.gz": GZIP[:-30],
    "gzip--checksum-cut.csv.gz": GZIP[:-4],
    "gzip--bit-flipped.csv.gz": changed(GZIP, len(GZIP) // 2, bytes([GZIP[len(GZIP) // 2] ^ 16])),
    "gzip--followed-by-text.csv.gz": GZIP + CSV,
    "gzip--second-member-cut.csv.gz": GZIP + GZIP[:40],
    "gzip--header-alone.csv.gz": GZIP[:10],
    "gzip--bomb.csv.gz": gzip.compress(bytes(64 << 20), mtime=0),
    "bz2--truncated.csv.bz2": bz2.compress(CSV)[:-10],
    "bz2--bomb.csv.bz2": bz2.compress(bytes(64 << 20)),
    "xz--truncated.csv.xz": lzma.compress(CSV)[:-10],
    "xz--bomb.csv.xz": lzma.compress(bytes(64 << 20)),
    "zstd--truncated.csv.zst": zstd(CSV)[:-10],
    "zstd--bomb.csv.zst": zstd(bytes(64 << 20)),
    "zip--slip.zip": archive(("../../a.csv", CSV), ("/tmp/a.csv", CSV), ("C:\\a.csv", CSV)),
    "zip--link.zip": archive((link(), b"/etc/passwd")),
    "zip--encrypted.zip": encrypted(),
    "zip--name-twice.zip": archive(("a.csv", CSV), ("a.csv", CSV)),
    "zip--in-zip.zip": archive(("a.zip", archive(("a.csv", CSV)))),
    "zip--size-too-small.zip": lying(24, 10),
    "zip--size-too-large.zip": lying(24, 10_000),
    "zip--other-checksum.zip": lying(16, 1),
    "zip--packed-size-zero.zip": lying(20, 0),
    "zip--entries-upon-each-other.zip": upon_each_other(),
    "zip--truncated.zip": archive(("a.csv", CSV))[:-30],
    "zip--start-cut.zip": b"PK\x03\x04" + archive(("a.csv", CSV))[40:],
    "zip--two-in-one.zip": archive(("a.csv", CSV)) * 2,
    "zip--nothing-in-it.zip": archive(),
    "zip--bomb.zip": archive(("a.csv", bytes(64 << 20))),
    "zip--many-members.zip": archive(*((f"{i}.csv", b"a,n\n") for i in range(300))),
    "jsonl--cut.jsonl": b'{"a":"x","n":1}\n{"a":"y","n"',
    "jsonl--deep.jsonl.gz": gzip.compress(b'{"a":"x","n":1}\n{"a":' + b"[" * 100_000 + b"\n", mtime=0),
    "jsonl--half-a-surrogate.jsonl": b'{"a":"\\ud800","n":1}\n',
    "jsonl--numbers-that-are-none.jsonl": b'{"a":"x","n":NaN}\n{"a":"x","n":1e999999999}\n{"a":"x","n":01}\n',
    "jsonl--key-twice.jsonl": b'{"a":"x","a":"y","n":1}\n',
    "json--cut.json": b'[{"a":"x","n":1},{"a":"y","n":2}',
    "json--one-comma-too-many.json": b'[{"a":"x","n":1},]',
    "json--two-arrays.json": b'[{"a":"x","n":1}][{"a":"x","n":1}]',
    "json--deep.json.gz": gzip.compress(b"[" * 1_000_000, mtime=0),
    "json--brace-closes-it.json": b'[{"a":"x","n":1}}',
    "json--string-never-closed.json": b'[{"a":"x","n":1},{"a":"' + b"y" * 1000,
    "json--an-object.json": b'{"a":"x","n":1}',
    "parquet--truncated.parquet": PARQUET[:-20],
    "parquet--start-cut.parquet": b"PAR1" + PARQUET[200:],
    "parquet--pages-overwritten.parquet": changed(PARQUET, 40, bytes(range(200))),
    "parquet--footer-length-lies.parquet": changed(PARQUET, len(PARQUET) - 8, b"\xff\xff\xff\x7f"),
    "parquet--magic-alone.parquet": b"PAR1PAR1",
    "orc--truncated.orc": ORC[:-20],
    "orc--start-cut.orc": b"ORC" + ORC[100:],
    "orc--streams-overwritten.orc": changed(ORC, 20, bytes(range(100))),
    "orc--magic-alone.orc": b"ORC",
    "orc--postscript-lies.orc": changed(ORC, len(ORC) - 1, b"\xff"),
    "avro--truncated.avro": AVRO[:-20],
    "avro--block-overwritten.avro": changed(AVRO, len(AVRO) // 2, b"\xff" * 30),
    "avro--sync-lies.avro": AVRO[:-3] + b"xyz",
    "avro--deflate-cut.avro": changed(avro("deflate"), len(avro("deflate")) - 60, bytes(20)),
    "avro--recursive.avro": avro_of(
        b'{"type":"record","name":"r","fields":[{"name":"a","type":["null","r"]}]}', b"\x02" * 9000
    ),
    "avro--endless-nulls.avro": avro_of(
        b'{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}', b"\xfe" * 8 + b"\x01\0"
    ),
    "avro--length-lies.avro": avro_of(TWO_FIELDS, b"\xfe" * 8 + b"\x01x"),
    "avro--count-lies.avro": avro_of(TWO_FIELDS, b"\x02x\x02", 1 << 60),
    "excel--truncated.xlsx": XLSX[:-100],
    "excel--half.xlsx": XLSX[: len(XLSX) // 2],
    "excel--not-a-workbook.xlsx": archive(("[Content_Types].xml", "<Types/>"), ("x", "y")),
    "excel--sheet-is-no-xml.xlsx": archive(
        *(
            (i.filename, b"\0\1\2" if "sheet1" in i.filename else zipfile.ZipFile(io.BytesIO(XLSX)).read(i))
            for i in zipfile.ZipFile(io.BytesIO(XLSX)).infolist()
        )
    ),
    "excel--laughs.xlsx": archive(
        *(
            (
                i.filename,
                LAUGHS.replace("rows", "worksheet").encode() + b"<worksheet>&l9;</worksheet>"
                if "sheet1" in i.filename
                else zipfile.ZipFile(io.BytesIO(XLSX)).read(i),
            )
            for i in zipfile.ZipFile(io.BytesIO(XLSX)).infolist()
        )
    ),
    "excel--old-and-cut.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000),
    "xml--cut.xml": b"<rows><row><a>x</a><n>1</n></row><row><a>",
    "xml--billion-laughs.xml": f"{LAUGHS}<rows><row><a>&l9;</a><n>1</n></row></rows>".encode(),
    "xml--reads-another-file.xml": b'<!DOCTYPE rows [<!ENTITY x SYSTEM "file:///etc/passwd">]><rows><row><a>&x;</a></row></rows>',
    "xml--deep.xml.gz": gzip.compress(b"<rows><row>" + b"<a>" * 100_000, mtime=0),
    "xml--endless-tag.xml.bz2": bz2.compress(b"<rows><row a='" + b"x" * (20 << 20)),
    "xml--endless-text.xml.bz2": bz2.compress(b"<rows><row><a>" + b"x" * (40 << 20)),
    "xml--wrong-encoding.xml": '<?xml version="1.0" encoding="utf-8"?><rows><row><a>é</a></row></rows>'.encode("latin-1"),
    "xml--tags-cross.xml": b"<rows><row><a>x</n></a></row></rows>",
    "fixed_width--line-cut.txt": FIXED[:-5],
    "fixed_width--lines-joined.txt": FIXED.replace(b"\n", b"", 1),
    "fixed_width--nul-bytes.txt": FIXED + b"row 1   \0     1\n",
    "none--random.bin": zlib.compress(bytes(range(256)) * 20)[2:],
}

#: Found by mutation, and made by no script: calamine asks for 515 GB of memory, and would end the process.
KEPT = {"excel--asks-for-all-memory.xls"}


def main():
    for old in HERE.iterdir():
        if "--" in old.name and old.name not in KEPT:
            old.unlink()
    for name, content in FILES.items():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
