"""Dialects of delimited text: preambles, footers, comments, escapes, and what is found out by looking, or refused."""
# ruff: noqa: RUF001 - quotation marks, dashes and letters of other alphabets are what is read

import random

import pytest

from caudal.lake.dataset import CsvOptions
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}


@pytest.fixture
def ab(contract_of):
    return contract_of("a", "b")


def csv(**settings):
    return {"csv": CsvOptions(**settings)}


def test_lines_before_the_header_and_after_the_last_row_are_skipped(ab, take):
    text = 'Report of "June\nby, me, too\n\na,b\n1,2\n3,4\nTotal,2,rows\nprinted "today\n\n\n'
    taken = take(ab, "csv", text, **csv(skip_lines=2, skip_footer=2))
    assert taken.rows == [("1", "2"), ("3", "4")]
    assert taken.places == [5, 6]
    assert not taken.rejects


def test_they_are_skipped_without_a_header_too(ab, take):
    taken = take(ab, "csv", "x\n1,2\nend\n", **csv(skip_lines=1, skip_footer=1, header=False))
    assert (taken.rows, taken.places) == ([("1", "2")], [2])


def test_a_file_of_nothing_but_preamble_and_footer_has_no_rows(ab, take):
    assert take(ab, "csv", "x\na,b\nend\n", **csv(skip_lines=1, skip_footer=1)).result.files[0].rows_read == 0
    with pytest.raises(Unreadable, match="only empty lines"):
        take(ab, "csv", "x\ny\n", **csv(skip_lines=5))


def test_comments_are_no_rows_but_in_a_value(ab, take):
    text = '# "made by us\na,b\n1,2\n#3,4\n"x\n# no comment\n",5\n# end, "of it"\n6,7\n'
    taken = take(ab, "csv", text, **csv(comment="#"))
    assert taken.rows == [("1", "2"), ("x\n# no comment\n", "5"), ("6", "7")]
    assert taken.places == [3, 5, 9]


def test_comments_among_many_rows_are_left_out(ab, take):
    lines = [f"{i},{i}" if i % 100 else f"// {i}" for i in range(1, 5000)]
    taken = take(ab, "csv", "a,b\n" + "\n".join(lines) + "\n", **csv(comment="//"))
    assert taken.rows == [(str(i), str(i)) for i in range(1, 5000) if i % 100]
    assert taken.places == [i + 1 for i in range(1, 5000) if i % 100]


def test_an_escape_takes_the_meaning_from_what_follows(ab, take):
    text = 'a,b\n"say \\"hi\\", you",2\nx\\,y,\\N\n"a \\\\",""\n"two\\\nlines",p\\\nq\n'
    taken = take(ab, "csv", text, **csv(escape="\\", null_markers=("\\N",)))
    assert taken.rows == [('say "hi", you', "2"), ("x,y", None), ("a \\", ""), ("two\nlines", "p\nq")]
    assert taken.places == [2, 3, 4, 5]


def test_an_escape_that_is_not_known_is_no_guess(ab, take):
    taken = take(ab, "csv", 'a,b\nC:\\new,1\n"\\t",2\n3,4\n', **csv(escape="\\"))
    assert taken.rows == [("3", "4")]
    assert [r[3] for r in taken.rejects] == ["`\\n`, an escape that is not known", "`\\t`, an escape that is not known"]


def test_without_a_declared_escape_a_backslash_is_a_character(ab, take):
    assert take(ab, "csv", "a,b\nC:\\new,1\n").rows == [("C:\\new", "1")]


def test_escapes_among_many_rows_change_no_other_row(ab, take):
    random.seed(5)
    values = [(random.choice(["x", 'q"q', "c,d", "b\\s", "l\nl", ""]), str(i)) for i in range(3000)]
    quoted = ['"' + a.replace("\\", "\\\\").replace('"', '\\"') + f'",{b}' for a, b in values]
    taken = take(ab, "csv", "a,b\n" + "\n".join(quoted) + "\n", **csv(escape="\\"))
    assert taken.rows == values


AUTO = csv(encoding="auto", delimiter="auto")

DETECTED = [
    ("a;b\ncafé;€ 5\n".encode("cp1252"), "cp1252, ;", ("café", "€ 5")),
    ("a\tb\ncafé;1,5\tx|y\n".encode("latin-1"), "latin-1, tab", ("café;1,5", "x|y")),
    ("a,b\ncafé,日本\n".encode(), "utf-8, ,", ("café", "日本")),
    (b"b|x;y\n", "utf-8, pipe", None),
    (b"a|b\nplain,1;2\n", "utf-8, pipe", ("plain", None)),
    ("a;b\nü;1\n".encode("utf-8-sig"), "utf-8, ;", ("ü", "1")),
    ("a;b\nü;1\n".encode("utf-16"), "utf-16, ;", ("ü", "1")),
    ("a;b\nu;1\n".encode("utf-16-le"), "utf-16-le, ;", ("u", "1")),
    ("a;b\nu;1\n".encode("utf-16-be"), "utf-16-be, ;", ("u", "1")),
    ("a;b\n“d’accord” – naïve…;Œuvre\n".encode("cp1252"), "cp1252, ;", ("“d’accord” – naïve…", "Œuvre")),
]  # fmt: skip


@pytest.mark.parametrize(("content", "dialect", "row"), DETECTED)
def test_encoding_and_delimiter_are_found_and_recorded(contract_of, take, content, dialect, row):
    contract = contract_of("a", "b", drift="ignore")
    if row is None:
        with pytest.raises(Unreadable):
            take(contract_of("a", "b"), "csv", content, **AUTO)
        return
    if None in row:
        taken = take(contract, "csv", content, **AUTO)
        assert taken.result.files[0].dialect == dialect
        assert taken.rows == [("plain,1;2", None)] or taken.rejects
        return
    taken = take(contract, "csv", content, **AUTO)
    assert taken.rows == [row]
    assert taken.result.files[0].dialect == dialect


def test_what_is_declared_is_not_looked_for_nor_recorded(ab, take):
    assert take(ab, "csv", "a,b\n1,2\n").result.files[0].dialect is None


def test_without_a_header_the_contract_tells_how_many_values_a_row_has(contract_of, take):
    contract = contract_of("a", "b", "c")
    text = "".join(f"1,{i};x;2\n" for i in range(50)) + "oops\n"
    taken = take(contract, "csv", text, **csv(delimiter="auto", header=False))
    assert taken.rows[0] == ("1,0", "x", "2")
    assert taken.result.files[0].dialect == "utf-8, ;"
    assert len(taken.rejects) == 1


def test_a_single_column_has_no_delimiter(contract_of, take):
    assert take(contract_of("a"), "csv", "a\nx\n", **AUTO).rows == [("x",)]


AMBIGUOUS = [
    ("x,y;z\n1,2;3\n", "the delimiter cannot be told: none of comma, semicolon, tab and pipe"),
    ("a,x;b\n1,2;3\n", "several of comma, semicolon"),
    ("a;b\ncafé ü;1\n".encode() + "é;1\n".encode("latin-1"), "characters of UTF-8 among bytes that are none"),
    ("a;b\nKöln;1\n".encode("cp850"), "another code page"),
    ("a;b\nprésent;1\n".encode("mac-roman"), "capital of cp1252 between small letters"),
    ("a;b\nПривет;мир\n".encode("cp1251"), "side by side"),
    ("a;b\nzłoty;1\n".encode("cp1250"), "another code page"),
    ("a;b\n5 €;1\n".encode("iso-8859-15"), "the euro sign in iso-8859-15"),
    (b"a;b\n\x81;1\n", "a byte that cp1252 does not have"),
    (b"a;b\n1\x00;1\n", "NUL bytes in it, and not as UTF-16 has them"),
]


@pytest.mark.parametrize(("content", "told"), AMBIGUOUS)
def test_what_admits_several_answers_is_refused(ab, take, content, told):
    with pytest.raises(Unreadable) as refused:
        take(ab, "csv", content, **AUTO)
    assert told in str(refused.value)
    assert "t/t/lake-file.csv" in str(refused.value)


def test_a_cut_character_in_a_long_file_does_not_make_it_another_encoding(ab, take):
    content = b"a;b\n" + "é;1\n".encode() * 400_000 + "é".encode()[:1]
    with pytest.raises(Unreadable, match="characters of UTF-8 among bytes that are none"):
        take(ab, "csv", content, **AUTO)
