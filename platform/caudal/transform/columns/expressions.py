"""Which columns an expression is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.transform.columns.values import Column, Relation, Unresolved, merged

if TYPE_CHECKING:
    from sqlglot import exp

Resolve = Callable[["exp.Expr", "Scope"], Relation]

_NO_VALUE = Column("")


@dataclass
class Scope:
    """The names that an expression may use.

    Attributes:
        resolve: gives what a query in this scope selects.
        ctes: by lower-case name.
        relations: by lower-case alias, in the order of the `FROM` clause.
        shared: columns that a join merged, by `USING` or `NATURAL`; unqualified, each is one column.
        hidden: aliases whose columns only a condition may use: the right side of a semi join.
        outer: what the query that this one stands in may use.
        aliases: columns of the select list so far, which an unqualified name means if no relation has it.
        windows: named ones.

    """

    resolve: Resolve
    ctes: Mapping[str, Callable[[], Relation]] = field(default_factory=dict)
    outer: Scope | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    shared: dict[str, Column] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    aliases: dict[str, Column] = field(default_factory=dict)
    windows: dict[str, exp.Expr] = field(default_factory=dict)

    def seen(self) -> Iterator[tuple[str, Relation]]:
        """The relations of which `*` shows all columns."""
        return ((alias, relation) for alias, relation in self.relations.items() if alias not in self.hidden)

    def named(self, name: str) -> Column | None:
        """What an unqualified name means here, not counting aliases and outer queries; None if nothing."""
        lowered = name.lower()
        if lowered in self.shared:
            return self.shared[lowered]
        found = [relation.columns[lowered] for relation in self.relations.values() if lowered in relation.columns]
        if len(found) > 1:
            raise Unresolved(f"{name} is the name of columns of {len(found)} tables")
        if found:
            return found[0]
        whole = [r for r in self.relations.values() if r.is_open]
        unnested = [r.any_name for r in self.relations.values() if r.any_name is not None]
        if not whole and len(unnested) == 1 and lowered not in self.relations and not self._is_known_outside(lowered):
            return unnested[0]
        if not whole:
            return None
        if len(whole) > 1 or unnested or lowered in self.aliases or self._is_known_outside(lowered):
            raise Unresolved(f"{name} may be a column of more than one table, and their columns are not all declared")
        return whole[0].column(name)

    def _is_known_outside(self, lowered: str) -> bool:
        scope = self.outer
        while scope is not None:
            if (
                lowered in scope.shared
                or lowered in scope.aliases
                or any(lowered in r.columns for r in scope.relations.values())
            ):
                return True
            scope = scope.outer
        return False


def value_of(expression: exp.Expr, scope: Scope, name: str = "") -> Column:
    """The expression as a column called `name`.

    Raises:
        Unresolved: a name in it cannot be told, or it takes columns by a pattern.

    """
    from sqlglot import exp

    bare = expression.unalias()
    while isinstance(bare, exp.Paren):
        bare = bare.this
    if isinstance(bare, exp.Column) and not isinstance(bare.this, exp.Star):
        found, is_whole = _column(bare, scope)
        return merged(name, [found if is_whole else found.computed])
    parts = [part.computed for part in _parts(bare, scope)]
    return merged(name, parts)


def values_of(expressions: Iterable[exp.Expr], scope: Scope) -> Column:
    """Several expressions as one."""
    return merged("", [value_of(expression, scope) for expression in expressions])


def _parts(node: exp.Expr, scope: Scope) -> Iterator[Column]:
    from sqlglot import exp

    if isinstance(node, exp.Column):
        if isinstance(node.this, exp.Star):
            yield from _whole_rows(node.table, scope)
        else:
            yield _column(node, scope)[0]
    elif isinstance(node, exp.Star):
        if not isinstance(node.parent, exp.Count):
            raise Unresolved(f"{node.parent.sql() if node.parent else '*'} takes columns by a pattern")
    elif isinstance(node, exp.Columns):
        raise Unresolved(f"{node.sql()} takes columns by a pattern")
    elif isinstance(node, exp.Window):
        yield from _window(node, scope)
    elif isinstance(node, exp.Query):
        yield _subquery(node, scope)
    elif isinstance(node, (exp.PropertyEQ, exp.Kwarg)):
        yield from _parts(node.expression, scope)
    elif isinstance(node, (exp.DataType, exp.Identifier)):
        return
    else:
        for child in node.iter_expressions():
            yield from _parts(child, scope)


def _window(node: exp.Window, scope: Scope) -> Iterator[Column]:
    """What is computed over the window is computed from its values; order and partition decide which these are."""
    name = node.args.get("alias")
    definitions = [node]
    while name is not None:
        named = scope.windows.get(name.name.lower())
        if named is None:
            raise Unresolved(f"there is no window {name.name}")
        definitions.append(named)
        name = named.args.get("alias")
    yield from _parts(node.this, scope)
    deciding = []
    for definition in definitions:
        deciding += definition.args.get("partition_by") or []
        deciding += [definition.args[part] for part in ("order", "spec") if definition.args.get(part)]
    refs = values_of(deciding, scope).refs if deciding else frozenset()
    yield Column("", influences=refs, across=True)


def _subquery(node: exp.Expr, scope: Scope) -> Column:
    """A scalar subquery, `IN (SELECT ...)` or `EXISTS`: what it selects, and what decides which rows it finds."""
    found = scope.resolve(node, scope)
    if found.is_open and not found.columns:
        raise Unresolved("a subquery selects all columns of a table whose columns nobody declares")
    value = merged("", [column.computed for column in found.columns.values()])
    return Column("", value.origins, value.influences | found.influences, across=value.across or found.across)


def _column(node: exp.Column, scope: Scope) -> tuple[Column, bool]:
    """What a name means, and whether it means all of it, not a field in it."""
    parts = [part.name for part in node.parts]
    looked: Scope | None = scope
    while looked is not None:
        found = _in(looked, parts)
        if found is not None:
            return found
        looked = looked.outer
    raise Unresolved(f"there is no column {'.'.join(parts)} in what it reads")


def _in(scope: Scope, parts: list[str]) -> tuple[Column, bool] | None:
    """Tables are looked for first, then columns with fields, then aliases of the select list, then whole rows."""
    for place in range(1, len(parts)):
        relation = scope.relations.get(parts[place - 1].lower())
        if relation is None:
            continue
        found = relation.column(parts[place])
        if found is not None:
            return found, place + 1 == len(parts)
        if relation.any_name is not None:
            return relation.any_name, False
    named = scope.named(parts[0])
    if named is None:
        named = scope.aliases.get(parts[0].lower())
    if named is not None:
        return named, len(parts) == 1
    if len(parts) == 1 and parts[0].lower() in scope.relations:
        whole = list(_whole_rows(parts[0], scope))
        return merged("", [column.computed for column in whole]), False
    return None


def _whole_rows(alias: str, scope: Scope) -> Iterator[Column]:
    looked: Scope | None = scope
    while looked is not None and alias.lower() not in looked.relations:
        looked = looked.outer
    if looked is None:
        raise Unresolved(f"there is no table {alias} of which all columns could be taken")
    relation = looked.relations[alias.lower()]
    if relation.is_open:
        raise Unresolved(f"whole rows of {alias} are taken, whose columns nobody declares")
    yield from relation.columns.values()
    if not relation.columns:
        yield _NO_VALUE
