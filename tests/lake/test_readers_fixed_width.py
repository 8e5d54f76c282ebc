"""Fixed width: each value has its place, and a line of another length is rejected."""

import pytest

from caudal.lake.options import FixedWidthOptions
from caudal.lake.readers.rows import Unreadable

NUMBER = {"name": "n", "logicalType": "integer"}
PLACES = {"a": (1, 6), "n": (7, 4)}


def fixed(**settings):
    return {"fixed_width": FixedWidthOptions(**{"columns": PLACES} | settings)}


def test_values_are_cut_by_their_places_and_blanks_after_them_mean_nothing(contract_of, take):
    taken = take(contract_of("a", NUMBER), "fixed_width", "apple    1\n  éé   12 \r\n\n      1234", **fixed())
    assert taken.rows == [("apple", 1), ("  éé", 12), (None, 1234)]
    assert taken.places == [1, 2, 4]


def test_a_line_of_another_length_is_rejected_with_its_number(contract_of, take):
    taken = take(contract_of("a", NUMBER), "fixed_width", "apple    1\npear   2\nplum    333\n", **fixed())
    assert taken.rows == [("apple", 1)]
    assert taken.rejects == [
        (2, None, "pear   2", "8 characters; expected 10"),
        (3, None, "plum    333", "11 characters; expected 10"),
    ]


def test_the_length_of_a_line_may_be_declared_beyond_the_last_column(contract_of, take):
    taken = take(contract_of("a", NUMBER), "fixed_width", "apple    1 filler\n", **fixed(length=17))
    assert taken.rows == [("apple", 1)]


def test_the_widths_of_the_contracts_columns_may_be_declared_alone(contract_of, take):
    widths = {"fixed_width": FixedWidthOptions(widths=(6, 4))}
    assert take(contract_of("a", NUMBER), "fixed_width", "apple    1\n", **widths).rows == [("apple", 1)]
    with pytest.raises(ValueError, match=r"has 2 widths; the contract has 1 columns"):
        take(contract_of("a"), "fixed_width", "apple    1\n", **widths)
    with pytest.raises(ValueError, match=r"expected widths from 1, and no `columns`"):
        FixedWidthOptions(columns=PLACES, widths=(6, 4))


def test_headers_and_footers_are_skipped_and_blank_lines_at_the_end_do_not_count(contract_of, take):
    text = "HEADER\n\napple    1\nplum     2\nTRAILER\n2 rows\n\n \n"
    taken = take(contract_of("a", NUMBER), "fixed_width", text, **fixed(skip_lines=1, skip_footer=2))
    assert taken.rows == [("apple", 1), ("plum", 2)]
    assert taken.places == [3, 4]


def test_a_null_marker_is_no_value(contract_of, take):
    taken = take(contract_of("a", NUMBER), "fixed_width", "NA    9999\n", **fixed(null_markers=("NA", "9999")))
    assert taken.rows == [(None, None)]


def test_another_encoding_is_read_as_declared_or_found_and_recorded(contract_of, take):
    content = "Zürich   1\n".encode("cp1252")
    for encoding, recorded in (("cp1252", None), ("auto", "latin-1")):
        taken = take(contract_of("a", NUMBER), "fixed_width", content, **fixed(encoding=encoding))
        assert taken.rows == [("Zürich", 1)]
        assert taken.result.files[0].dialect == recorded


def test_places_that_are_not_those_of_the_contract_are_told(contract_of, take):
    with pytest.raises(Unreadable, match=r"`fixed_width.columns`: columns missing: `b`; not in the contract: `n`"):
        take(contract_of("a", "b"), "fixed_width", "apple    1\n", **fixed())
    for place in ((0, 1), (1, 0), (1,)):
        with pytest.raises(ValueError, match=r"fixed_width.columns.a is .* expected \[first place from 1, width\]"):
            FixedWidthOptions(columns={"a": place})
    with pytest.raises(ValueError, match=r"`fixed_width.columns` is missing"):
        take(contract_of("a"), "fixed_width", "x\n")
