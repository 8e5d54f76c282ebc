"""XML: one repeated element is the rows; what could unfold or read other files is refused."""

import json
from decimal import Decimal

import pytest

from caudal.lake.options import Limits, XmlOptions
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}
ARRAY = {"name": "l", "logicalType": "array"}
OBJECT = {"name": "o", "logicalType": "object"}


def xml(record="orders/order", **settings):
    return {"xml": XmlOptions(record, **settings)}


def orders(*rows, prolog='<?xml version="1.0"?>\n'):
    return f"{prolog}<orders>\n" + "\n".join(f"<order>{row}</order>" for row in rows) + "\n</orders>\n"


def test_children_are_columns_and_a_row_has_its_number(contract_of, take):
    taken = take(
        contract_of("a", NUMBER),
        "xml",
        orders("<a>x</a><n>1</n>", "<n> 2 </n>", "<a/><n/>", "<a> y&amp;<![CDATA[<z>]]></a>"),
        **xml(),
    )
    assert taken.rows == [("x", 1), (None, 2), ("", None), (" y&<z>", None)]
    assert taken.places == [1, 2, 3, 4]


def test_attributes_are_columns_with_a_sign(contract_of, take):
    content = '<orders><order id="7" n="1"><price currency="EUR">1.50</price></order></orders>'
    price = {"name": "price", "logicalType": "number", "physicalType": "DECIMAL(10,2)"}
    taken = take(contract_of("@id", price, "price/@currency", "@n"), "xml", content, **xml())
    assert taken.rows == [("7", Decimal("1.50"), "EUR", "1")]


def test_what_is_nested_or_repeated_is_json_text(contract_of, take):
    rows = [
        '<o k="v"><p>1</p><q/><p>2</p></o><l>x</l><l u="1">y</l>',
        '<o>\n  <p><r>é"</r></p>\n</o><l>only</l>',
        "<l><i>1</i></l>",
    ]  # fmt: skip
    taken = take(contract_of(OBJECT, ARRAY), "xml", orders(*rows), **xml())
    assert [tuple(v and json.loads(v) for v in row) for row in taken.rows] == [
        ({"@k": "v", "p": ["1", "2"], "q": ""}, ["x", {"@u": "1", "#text": "y"}]),
        ({"p": {"r": 'é"'}}, ["only"]),
        (None, [{"i": "1"}]),
    ]


def test_a_child_that_is_nil_or_a_marker_is_no_value(contract_of, take):
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    content = f'<orders {xsi} xsi:schemaLocation="a b"><order><a xsi:nil="true"/></order><order><a>-</a></order></orders>'
    assert take(contract_of("a"), "xml", content, **xml(null_markers=("-",))).rows == [(None,), (None,)]


def test_names_in_namespaces_are_called_by_their_local_names_unless_declared(contract_of, take):
    content = '<o:orders xmlns:o="urn:o" xmlns="urn:d"><o:order o:k="1"><a>x</a><o:b>y</o:b></o:order></o:orders>'
    assert take(contract_of("a", "b", "@k"), "xml", content, **xml()).rows == [("x", "y", "1")]
    declared = xml("s:orders/s:order", namespaces={"s": "urn:o"})
    assert take(contract_of("a", "s:b", "@s:k"), "xml", content, **declared).rows == [("x", "y", "1")]
    with pytest.raises(Unreadable, match=r"the root element is `orders`; expected `s:orders`"):
        take(contract_of("a"), "xml", content, **xml("s:orders/s:order", namespaces={"s": "urn:other"}))
    with pytest.raises(ValueError, match=r"its prefix is not in `namespaces`"):
        XmlOptions("s:orders/order")


def test_one_name_of_two_namespaces_is_no_guess(contract_of, take):
    content = '<orders xmlns:p="urn:p"><order><a>1</a><p:a>2</p:a></order><order><a>3</a></order></orders>'
    taken = take(contract_of("a"), "xml", content, **xml())
    assert taken.rows == [("3",)]
    assert taken.rejects[0][3] == "elements `a` of two namespaces; declare `xml.namespaces` (line 1)"


def test_text_between_elements_costs_the_row(contract_of, take):
    taken = take(contract_of("a"), "xml", orders("<a>x<b/>y</a>", "<a>z</a>", "text"), **xml())
    assert taken.rows == [("z",)]
    assert [(r[0], r[3]) for r in taken.rejects] == [
        (1, "text and elements stand side by side in `a` (line 3)"),
        (3, "text stands in the row itself; expected elements (line 5)"),
    ]


def test_children_that_the_contract_does_not_have_follow_the_drift_policy(contract_of, take):
    content = orders("<a>x</a><b>y</b>", "<a>z</a>", "<A>z</A>")
    frozen = take(contract_of("a"), "xml", content, **xml())
    assert frozen.rows == [("z",)]
    assert [r[3] for r in frozen.rejects] == ["keys not in the contract: `b`", "keys missing: `a`; not in the contract: `A`"]
    loose = take(contract_of("a", drift="ignore"), "xml", content, **xml())
    assert loose.rows == [("x",), ("z",)]
    assert [c.name for c in loose.result.undeclared] == ["b"]


PLACES = [
    ("<order><a>x</a></order>", "the root element is `order`; expected `orders`"),
    (
        "<orders><Order><a>x</a></Order><b/></orders>",
        "there is no `orders/order`; in its place there are `orders/Order`, `orders/b`",
    ),
    ("<orders><order><a>x</a></order>", "no element found"),
    ("<orders><order><a>x</b></order></orders>", r"mismatched tag \(line 1, character 22\)"),
    ("<orders/><orders/>", "junk after document element"),
    ("<orders>&nbsp;</orders>", "undefined entity"),
    ("a,b\n1,2\n", r"syntax error \(line 1, character 1\)"),
    ("<html><body/></html>", "this is an HTML page, not an XML document"),
    ("PAR1", "this is a Parquet file, not an XML document"),
    ("", "the file is empty"),
    ('<?xml version="1.0" encoding="klingon"?><orders/>', "unknown encoding|declares an encoding that is not read"),
    ("<orders>\0</orders>", "not well-formed"),
]


@pytest.mark.parametrize(("content", "told"), PLACES)
def test_what_is_no_such_document_is_refused_and_told(contract_of, take, content, told):
    with pytest.raises(Unreadable, match=f"t/t/lake-file.xml.*({told})"):
        take(contract_of("a"), "xml", content, **xml())


def test_a_document_without_rows_is_a_file_without_rows(contract_of, take):
    for empty in ("<orders/>", "<orders><!-- none -->\n</orders>"):
        assert take(contract_of("a"), "xml", empty, **xml()).result.files[0].rows_read == 0


LAUGHS = "<!DOCTYPE orders [" + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10)) + "]>"
DECLARATIONS = [
    f"{LAUGHS}<orders><order><a>&l9;</a></order></orders>",
    '<!DOCTYPE orders [<!ENTITY x SYSTEM "file:///etc/passwd">]><orders><order><a>&x;</a></order></orders>',
    '<!DOCTYPE orders SYSTEM "http://localhost/x.dtd"><orders/>',
    '<!DOCTYPE orders [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><orders/>',
]


@pytest.mark.parametrize("content", DECLARATIONS)
def test_a_document_type_declaration_is_refused(contract_of, take, content):
    with pytest.raises(Unreadable, match=r"line 1: a document type declaration .* is not read"):
        take(contract_of("a"), "xml", content, **xml())


def test_depth_and_size_have_limits(contract_of, take, monkeypatch):
    deep = orders("<a>" * 100 + "</a>" * 100)
    with pytest.raises(Unreadable, match=r"line 3: elements are nested more than 64 deep.*`limits.depth`"):
        take(contract_of("a"), "xml", deep, **xml())
    assert len(take(contract_of("a"), "xml", deep, limits=Limits(depth=200), **xml()).rows) == 1
    monkeypatch.setattr("caudal.lake.readers.xml.MAX_LINE_BYTES", 600_000)
    for endless in (
        "<a>" + "x" * 900_000 + "</a>",
        "<a " + "x" * 900_000 + "='1'/>",
        f"<!-- {'x' * 2_000_000} -->",
        "<b/>" * 300_000,
    ):
        with pytest.raises(Unreadable, match=r"a row or a tag is longer than"):
            take(contract_of("a"), "xml", orders("<a>1</a>", endless), **xml())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_the_encoding_is_what_the_prolog_declares(contract_of, take, encoding):
    content = orders("<a>Zürich</a>", prolog=f'<?xml version="1.0" encoding="{encoding}"?>').encode(encoding)
    assert take(contract_of("a"), "xml", content, **xml()).rows == [("Zürich",)]


def test_many_rows_are_read_in_pieces(contract_of, take):
    content = orders(*(f"<a>é{i}</a><n>{i}</n>" for i in range(20_000)))
    taken = take(contract_of("a", NUMBER), "xml", content, **xml())
    assert taken.rows == [(f"é{i}", i) for i in range(20_000)]


def test_the_rows_may_stand_deep_in_the_document(contract_of, take):
    content = "<r><head><item><a>no</a></item></head><x><y><item><a>1</a></item><z/></y><y><item><a>2</a></item></y></x></r>"
    assert take(contract_of("a"), "xml", content, **xml("r/x/y/item")).rows == [("1",), ("2",)]
