"""The tables that a query reads: its `FROM` clause, with joins, functions that give tables, and what they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from caudal.transform.columns.expressions import Scope, value_of, values_of
from caudal.transform.columns.values import Column, Ref, Relation, Unresolved, merged

if TYPE_CHECKING:
    from sqlglot import exp

Lookup = Callable[["exp.Table"], Relation]


@dataclass
class Reading:
    """What was gathered while the tables of one query were read."""

    lookup: Lookup
    influences: frozenset[Ref] = frozenset()
    across: bool = False
    seen: set[str] = field(default_factory=set)

    def decided_by(self, column: Column) -> None:
        """Its value decides which rows there are."""
        self.influences |= column.refs
        self.across |= column.across


def read_tables(select: exp.Expr, scope: Scope, reading: Reading) -> None:
    """Fill `scope` with the relations that `select` reads.

    Raises:
        Unresolved: what one of them holds cannot be told.

    """
    start = select.args.get("from_")
    if start is not None:
        _add(start.this, scope, reading)
    for join in select.args.get("joins") or []:
        _join(join, scope, reading)
    for lateral in select.args.get("laterals") or []:
        _add(lateral, scope, reading)


def _add(node: exp.Expr, scope: Scope, reading: Reading) -> list[str]:
    """Add a table with what is joined to it in its parentheses; the aliases that it came to."""
    from sqlglot import exp

    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias:
        added = _add(node.this, scope, reading)
    else:
        alias, relation = _relation(node, scope, reading)
        if node.args.get("sample") is not None:
            relation = replace(relation, across=True)
        number = 0
        while alias in scope.relations:  # Of two tables with one name, such as two without any, neither can be named.
            number += 1
            alias = f"{alias} {number}"
        scope.relations[alias] = relation
        reading.influences |= relation.influences
        reading.across |= relation.across
        added = [alias]
    for join in node.args.get("joins") or []:
        added += _join(join, scope, reading)
    return added


def _join(join: exp.Join, scope: Scope, reading: Reading) -> list[str]:
    before = list(scope.relations)
    added = _add(join.this, scope, reading)
    if join.args.get("method") == "POSITIONAL":
        raise Unresolved("a positional join pairs rows by their place")
    shared = [identifier.name for identifier in join.args.get("using") or []]
    if join.args.get("method") == "NATURAL":
        shared = _common([scope.relations[a] for a in before], [scope.relations[a] for a in added])
    for name in shared:
        _share(name, before, added, scope, reading)
    if join.args.get("on") is not None:
        reading.decided_by(value_of(join.args["on"], scope))
    if join.args.get("match_condition") is not None:
        reading.decided_by(value_of(join.args["match_condition"], scope))
    if join.kind in ("SEMI", "ANTI") or join.side in ("SEMI", "ANTI"):
        scope.hidden.update(added)
    return added


def _common(left: list[Relation], right: list[Relation]) -> list[str]:
    if any(relation.is_open for relation in (*left, *right)):
        raise Unresolved("a natural join needs all columns of a table whose columns nobody declares")
    names = {name for relation in right for name in relation.columns}
    return [name for relation in left for name in relation.columns if name in names]


def _share(name: str, before: list[str], added: list[str], scope: Scope, reading: Reading) -> None:
    lowered = name.lower()
    left = [scope.shared[lowered]] if lowered in scope.shared else _having(lowered, before, scope)
    right = _having(lowered, added, scope)
    if len(left) != 1 or len(right) != 1:
        raise Unresolved(f"the tables that are joined using {name} do not each have one column of that name")
    both = merged(name, [*left, *right])
    reading.decided_by(both)
    scope.shared[lowered] = both


def _having(name: str, aliases: list[str], scope: Scope) -> list[Column]:
    relations = [scope.relations[alias] for alias in aliases]
    known = [relation.columns[name] for relation in relations if name in relation.columns]
    if known:
        return known
    return [found for relation in relations if relation.is_open and (found := relation.column(name)) is not None]


def _relation(node: exp.Expr, scope: Scope, reading: Reading) -> tuple[str, Relation]:
    from sqlglot import exp

    if node.args.get("pivots"):
        raise Unresolved("a pivot makes columns of values")
    alias = node.alias.lower()
    names = list(node.alias_column_names)
    match node:
        case exp.Table() if isinstance(node.this, exp.Identifier):
            relation = _table(node, scope, reading)
            alias = alias or node.name.lower()
        case exp.Table():
            relation = _function(node.this, scope, alias)
            alias = alias or node.this.name.lower()
        case exp.Unnest():
            return _unnest(node, scope)
        case exp.Values():
            relation = _values(node, scope)
        case exp.Lateral():
            return _relation_of_lateral(node, scope, names)
        case exp.Subquery() | exp.Query():
            relation = scope.resolve(node.this if isinstance(node, exp.Subquery) else node, scope)
        case _:
            raise Unresolved(f"it reads from {node.sql()[:80]}, which is not understood")
    return alias or f"unnamed {len(scope.relations)}", relation.renamed(names)


def _table(node: exp.Table, scope: Scope, reading: Reading) -> Relation:
    cte = scope.ctes.get(node.name.lower()) if not node.args.get("db") else None
    if cte is not None:
        return cte()
    return reading.lookup(node)


def _relation_of_lateral(node: exp.Lateral, scope: Scope, names: list[str]) -> tuple[str, Relation]:
    from sqlglot import exp

    alias = node.alias.lower() or f"unnamed {len(scope.relations)}"
    if isinstance(node.this, exp.Subquery):
        return alias, scope.resolve(node.this.this, scope).renamed(names)
    if isinstance(node.this, (exp.Unnest, exp.Explode)):
        made = value_of(node.this, scope).computed
        return alias, Relation({n.lower(): replace(made, name=n) for n in names}, made.refs, any_name=made)
    raise Unresolved(f"it reads from {node.sql()[:80]}, which is not understood")


def _function(node: exp.Expr, scope: Scope, alias: str) -> Relation:
    """A function that gives a table of one column: a series, or the items of a list."""
    from sqlglot import exp

    series = isinstance(node, (exp.GenerateSeries, exp.GenerateDateArray, exp.GenerateTimestampArray))
    if not series and node.name.lower() not in ("range", "generate_series", "unnest"):
        raise Unresolved(f"it reads from {node.sql()[:80]}, whose columns nobody declares")
    made = value_of(node, scope).computed
    names = {"range", "generate_series", alias} if series else {node.name.lower(), alias}
    column = Column(alias or "range", made.origins, made.influences, made.across)
    return Relation({column.name.lower(): column}, made.refs, any_name=column if names else None)


def _unnest(node: exp.Unnest, scope: Scope) -> tuple[str, Relation]:
    """The items of lists. What is unnested decides how many rows there are; names that are no columns are fields of items.

    In BigQuery the alias names the item, and its fields are in reach without it.
    """
    from sqlglot import exp

    made = values_of(node.expressions, scope).computed
    names = list(node.alias_column_names)
    alias = node.alias.lower() or (names[0].lower() if names else "unnest")
    columns = {name.lower(): replace(made, name=name) for name in names or [node.alias or "unnest"]}
    offset = node.args.get("offset")
    if isinstance(offset, exp.Expr):
        columns[offset.name.lower()] = Column(offset.name)
    elif offset:
        columns["ordinality"] = Column("ordinality")
    return alias, Relation(columns, made.refs, any_name=made)


def _values(node: exp.Values, scope: Scope) -> Relation:
    rows = [row.expressions if row.key == "tuple" else [row] for row in node.expressions]
    columns = [
        merged(f"col{i}", [value_of(value, scope).computed for value in values])
        for i, values in enumerate(zip(*rows, strict=False))
    ]
    return Relation({column.name: column for column in columns})
