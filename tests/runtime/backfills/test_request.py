"""What a file may ask for, and what it is told when it asks for something else."""

import re

import pytest

from caudal.declaration import DeclarationError
from caudal.runtime.backfills.request import read_request, requests_in


def test_a_file_says_what_and_why_and_who(ask):
    request = ask()
    assert (request.name, request.assets, request.first, request.last) == (
        "2026-03-10-scale", ("raw/till/sales",), "2026-03-02", "2026-03-04",
    )  # fmt: skip
    assert (request.requested_by, request.reviewed_by) == ("ana@bakery.example", "bo@bakery.example")


WRONG = {
    "who asks reviews": (("bo@bakery", "Ana@bakery"), 6, "`reviewed_by` is 'Ana@bakery.example', who asks for it"),
    "no reason": (
        ("reason: The scale was wrong for three days, and its maker sent other files.", "reason: why not"),
        4,
        "at least 10",
    ),
    "an unknown setting": (("partitions:", "partition:"), 3, "`partition` is not a known setting"),
    "no asset": (("[raw/till/sales]", "[]"), 2, "at least 1"),
    "half a range": ((", to: 2026-03-04", ""), 3, "`partitions.DeclaredRange.to` is missing"),
    "partitions of another kind": (
        ("{from: 2026-03-02, to: 2026-03-04}", "all"),
        3,
        "expected a list of partitions, or `from`",
    ),
    "no partition": (("{from: 2026-03-02, to: 2026-03-04}", "[]"), 3, "`partitions` is empty"),
    "the platform's tag": (
        ("reason:", "tags: {dagster/priority: '9'}\nreason:"),
        4,
        "the tag 'dagster/priority' is the platform's",
    ),
    "files and partitions": (("reason:", "files: [a.csv]\nreason:"), 4, "both given"),
}


@pytest.mark.parametrize(("change", "line", "problem"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_file_and_line(write, change, line, problem):
    path = write(change)
    with pytest.raises(DeclarationError, match=re.escape(problem)) as refused:
        read_request(path)
    assert f"{path}:{line}: " in str(refused.value)


@pytest.mark.parametrize("name", ["scale.yaml", "2026-13-01-scale.yaml", "2026-03-10.yaml", "2026-03-10-Scale up.yaml"])
def test_the_name_of_a_file_begins_with_a_day(write, name):
    with pytest.raises(DeclarationError, match="expected a date and a name"):
        read_request(write(name=name))


def test_comments_and_layout_do_not_make_another_request_and_all_else_does(ask):
    first = ask()
    assert ask(("# The scale", "# Our scale")).id == first.id
    assert ask(("{from: 2026-03-02, to: 2026-03-04}", '\n  from: "2026-03-02"\n  to: "2026-03-04"')).id == first.id
    others = {
        ask(("to: 2026-03-04", "to: 2026-03-05")).id,
        ask(("bo@", "cy@")).id,
        ask(("its maker", "the maker")).id,
        ask(name="2026-03-10-other.yaml").id,
    }
    assert len(others | {first.id}) == 5


def test_a_name_in_dagster_is_as_short_as_its_storage_wants(ask):
    assert len(ask().id) <= 32


def test_requests_are_listed_by_day(write, tmp_path):
    write(name="2026-03-10-b.yaml")
    write(name="2026-02-01-c.yaml")
    (tmp_path / "README.md").write_text("")
    assert [path.name for path in requests_in(tmp_path)] == ["2026-02-01-c.yaml", "2026-03-10-b.yaml"]
    assert requests_in(tmp_path / "nothing") == []
