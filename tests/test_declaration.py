"""YAML written by people: every error says the file and the line."""

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from caudal.declaration import DeclarationError, read_yaml


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "x.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def test_values_have_the_types_of_yaml(write):
    assert read_yaml(write("a: 1\nb: [x, 2.5, null, true]\nc: {d: 'e'}\n")).value == {
        "a": 1,
        "b": ["x", 2.5, None, True],
        "c": {"d": "e"},
    }


def test_every_value_has_its_line(write):
    document = read_yaml(write("a:\n  - x\n  - y: 1\n    z: 2\nb: 3\n"))
    lines = {place: document.lines[place] for place in [("a", 0), ("a", 1, "z"), ("b",)]}
    assert lines == {("a", 0): 2, ("a", 1, "z"): 4, ("b",): 5}


def test_an_error_about_what_is_missing_names_what_encloses_it(write):
    document = read_yaml(write("a: 1\nb:\n  c: 2\n"))
    assert str(document.error(("b", "missing", 0), "no")).endswith("x.yaml:2: no")
    assert str(document.error(("missing",), "no")).endswith("x.yaml:1: no")


WRONG = [
    ("a: 1\na: 2\n", ":2: `a` is given twice; keep one"),
    ("a: [1\nb: 2\n", ":2: not valid YAML"),
    ("a: 1\n\tb: 2\n", ":2: not valid YAML"),
    ("", ":1: the file is empty"),
    ("# nothing\n", ":1: the file is empty"),
    (b"a: \xff\n", ": not UTF-8 text (byte 3)"),
    ("a: 1\nb: 2017-02-30\n", ":2: not a value: day is out of range for month"),
    ("a: 1\n[b]: 2\n", ":2: a list or mapping cannot be a key"),
    ("a: &x\n  b: *x\n", ":1: a value that holds itself"),
    ("a: 1\nb: !!python/name:os.system x\n", ":2: not a value"),
    ("a: 1\n---\nb: 2\n", ":2: not valid YAML"),
]


@pytest.mark.parametrize(("content", "told"), WRONG)
def test_what_is_wrong_is_told_with_its_line(write, content, told):
    with pytest.raises(DeclarationError) as refused:
        read_yaml(write(content))
    assert f"x.yaml{told}" in str(refused.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DeclarationError, match=r"gone.yaml: no such file"):
        read_yaml(tmp_path / "gone.yaml")


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 1

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 3:
            raise ValueError("too long")
        return value


class Things(BaseModel):
    things: list[Thing]


def test_each_problem_of_a_model_is_a_line_with_its_place(write):
    document = read_yaml(write("things:\n  - name: abc\n    size: x\n  - name: abcd\n    colour: red\n  - size: 2\n"))
    with pytest.raises(DeclarationError) as refused:
        document.validate(Things)
    assert [line.partition("x.yaml")[2] for line in str(refused.value).splitlines()] == [
        ":3: `things.0.size` is 'x': input should be a valid integer, unable to parse string as an integer",
        ":4: `things.1.name`: too long",
        ":5: `things.1.colour` is not a known setting; remove it or correct its spelling",
        ":6: `things.2.name` is missing",
    ]
