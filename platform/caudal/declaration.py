"""YAML written by people: read with the place of every value, so that an error can say the file and the line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    import yaml
    from pydantic import ValidationError

M = TypeVar("M", bound=BaseModel)

Place = tuple[str | int, ...]


class DeclarationError(ValueError):
    """A declaration is not what the platform understands. The message names file, line, what was expected."""


@dataclass(frozen=True)
class Document:
    """A YAML document and the line (from 1) of each value in it."""

    path: Path
    value: Any
    lines: dict[Place, int]

    def error(self, place: Place, problem: str) -> DeclarationError:
        """An error about the value at `place`, or about the nearest enclosing value that exists."""
        while place and place not in self.lines:
            place = place[:-1]
        return DeclarationError(f"{self.path}:{self.lines.get(place, 1)}: {problem}")

    def validate(self, model: type[M]) -> M:
        """The document as `model`.

        Raises:
            DeclarationError: with one line for each problem.

        """
        from pydantic import ValidationError

        try:
            return model.model_validate(self.value)
        except ValidationError as refused:
            problems = "\n".join(str(self.error(p, text)) for p, text in _problems(refused))
            raise DeclarationError(problems) from None


def read_yaml(path: Path) -> Document:
    """Read one YAML document.

    Raises:
        DeclarationError: the file is missing, is not YAML, repeats a key, or holds what is no value.

    """
    import yaml

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise DeclarationError(f"{path}: no such file") from None
    except UnicodeDecodeError as bad:
        raise DeclarationError(f"{path}: not UTF-8 text (byte {bad.start})") from None
    except yaml.YAMLError as bad:
        mark = getattr(bad, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise DeclarationError(f"{path}:{line}: not valid YAML: {getattr(bad, 'problem', bad)}") from None
    if root is None:
        raise DeclarationError(f"{path}:1: the file is empty")
    lines: dict[Place, int] = {}
    try:
        return Document(path, _build(root, (), lines, path), lines)
    except RecursionError:
        raise DeclarationError(f"{path}:1: a value that holds itself") from None


def _build(node: yaml.Node, place: Place, lines: dict[Place, int], path: Path) -> Any:
    import yaml

    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise DeclarationError(f"{path}:{key_node.start_mark.line + 1}: a list or mapping cannot be a key")
            key = _scalar(key_node, path)
            if key in mapping:
                raise DeclarationError(f"{path}:{key_node.start_mark.line + 1}: `{key}` is given twice; keep one")
            lines[(*place, key)] = key_node.start_mark.line + 1
            mapping[key] = _build(value_node, (*place, key), lines, path)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*place, i), lines, path) for i, item in enumerate(node.value)]
    return _scalar(node, path)


def _scalar(node: yaml.Node, path: Path) -> Any:
    import yaml

    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError) as bad:
        raise DeclarationError(f"{path}:{node.start_mark.line + 1}: not a value: {getattr(bad, 'problem', bad)}") from None


def _problems(refused: ValidationError) -> list[tuple[Place, str]]:
    found = []
    for error in refused.errors():
        place = tuple(error["loc"])
        name = ".".join(str(p) for p in place) or "the document"
        if error["type"] == "extra_forbidden":
            problem = f"`{name}` is not a known setting; remove it or correct its spelling"
        elif error["type"] == "missing":
            problem = f"`{name}` is missing"
        elif error["type"] == "value_error":
            problem = f"`{name}`: {error['ctx']['error']}"
        else:
            problem = f"`{name}` is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
        found.append((place, problem))
    return found
