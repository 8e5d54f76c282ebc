"""What a query selects: of which columns each of its own is made, and which decide its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from caudal.transform.columns.expressions import Scope, value_of, values_of
from caudal.transform.columns.selected import Projection
from caudal.transform.columns.tables import Lookup, Reading, read_tables
from caudal.transform.columns.values import Column, Ref, Relation, Unresolved, by_name, merged

if TYPE_CHECKING:
    from sqlglot import exp

#: A recursive query is gone through until nothing new is found; each turn finds at least one origin more.
_MOST_TURNS = 200


def parse(sql: str, dialect: str) -> exp.Expr:
    """The one query that `sql` is.

    Raises:
        Unresolved: it is not one query, or is not understood.

    """
    import sqlglot
    from sqlglot import exp

    try:
        found = [statement for statement in sqlglot.parse(sql, read=dialect) if statement is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as problem:
        told = str(problem).replace("\x1b[4m", "").replace("\x1b[0m", "")
        raise Unresolved(f"its SQL is not understood: {told.splitlines()[0] if told else type(problem).__name__}") from None
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise Unresolved("its SQL is not one query" if found else "its SQL is empty")
    return found[0]


def words_of(sql: str, dialect: str) -> set[str] | None:
    """All names in a query, in small letters, and other words besides; None if it may mean columns that it does not name."""
    from sqlglot import exp

    stars = parse(sql, dialect).find_all(exp.Star, exp.Columns)
    if any(not isinstance(star.parent, exp.Count) for star in stars):
        return None
    return words(sql, dialect)


def words(sql: str, dialect: str = "duckdb") -> set[str]:
    """The words of a piece of SQL, in small letters; none if it is not understood."""
    import sqlglot

    try:
        return {token.text.lower() for token in sqlglot.tokenize(sql, read=dialect)}
    except sqlglot.errors.SqlglotError:
        return set()


def resolve(query: exp.Expr, lookup: Lookup) -> Relation:
    """The columns of `query`; `lookup` gives those of the tables that it reads.

    The order of the outermost query is not among what decides its rows, unless it has a limit: a table has no order.

    Raises:
        Unresolved: with the reason. Nothing of the query is known then.

    """
    return _Resolver(lookup).query(query, None, is_outermost=True)


class _Resolver:
    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup

    def query(self, node: exp.Expr, outer: Scope | None, *, is_outermost: bool = False) -> Relation:
        """What a query in `outer` selects."""
        from sqlglot import exp

        if isinstance(node, (exp.Subquery, exp.Paren)) and not node.args.get("joins"):
            ordered = any(node.args.get(part) for part in ("order", "limit", "offset"))
            inner = self.query(node.this, self._with_ctes(node, outer), is_outermost=is_outermost and not ordered)
            return self._ordered(node, inner, outer) if ordered else inner
        scope = self._with_ctes(node, outer)
        if isinstance(node, exp.SetOperation):
            return self._ordered(node, self._set_operation(node, scope), scope, is_outermost=is_outermost)
        if isinstance(node, exp.Select):
            return self._select(node, scope, is_outermost=is_outermost)
        if isinstance(node, exp.Table):
            return self._select(exp.select("*").from_(node.copy()), scope)
        raise Unresolved(f"it holds {node.key.upper()}, which is not understood")

    def _with_ctes(self, node: exp.Expr, outer: Scope | None) -> Scope:
        """The outer scope, with the query's CTEs, each of which is read when it is first asked for."""
        scope = Scope(self.query, dict(outer.ctes) if outer else {}, outer)
        clause = node.args.get("with_")
        is_recursive = clause is not None and bool(clause.recursive)
        for cte in clause.expressions if clause is not None else ():
            names = [column.name for column in cte.args["alias"].columns]
            scope.ctes = {**scope.ctes, cte.alias.lower(): self._cte(cte, names, scope.ctes, outer, recursive=is_recursive)}
        return scope

    def _cte(
        self,
        cte: exp.CTE,
        names: list[str],
        ctes: Mapping[str, Callable[[], Relation]],
        outer: Scope | None,
        *,
        recursive: bool,
    ) -> Callable[[], Relation]:
        found: list[Relation] = []

        def read() -> Relation:
            if not found:
                scope = Scope(self.query, ctes, outer)
                is_self_read = recursive and any(t.name.lower() == cte.alias.lower() for t in cte.this.find_all(_table_type()))
                relation = self._recursive(cte, names, scope) if is_self_read else self.query(cte.this, scope)
                found.append(relation.renamed(names))
            return found[0]

        return read

    def _recursive(self, cte: exp.CTE, names: list[str], scope: Scope) -> Relation:
        """The first part, then both with the CTE as it is known so far, until nothing new comes."""
        from sqlglot import exp

        if not isinstance(cte.this, exp.SetOperation):
            raise Unresolved(f"the recursive query {cte.alias} is no union")
        inner = self._with_ctes(cte.this, scope)
        known = self.query(cte.this.this, inner).renamed(names)
        for _ in range(_MOST_TURNS):
            inner.ctes = {**inner.ctes, cte.alias.lower(): lambda so_far=known: so_far}
            both = self._set_operation(cte.this, inner).renamed(names)
            columns = [merged(c.name, [c, both.columns[key]]) for key, c in known.columns.items()]
            new = replace(
                known, columns=by_name(replace(c, across=True) for c in columns), influences=known.influences | both.influences
            )
            new = replace(new, across=True)
            if new == known:
                return known
            known = new
        raise Unresolved(f"the recursive query {cte.alias} was given up after {_MOST_TURNS} turns")

    def _set_operation(self, node: exp.SetOperation, scope: Scope) -> Relation:
        from sqlglot import exp

        left, right = (self.query(part, scope) for part in (node.this, node.expression))
        if left.is_open or right.is_open:
            raise Unresolved(f"a {node.key} takes all columns of a table whose columns nobody declares")
        columns = list(_paired(node, left, right))
        influences = left.influences | right.influences
        across = left.across or right.across
        if not isinstance(node, exp.Union) or node.args.get("distinct"):
            for column in (*left.columns.values(), *right.columns.values()):
                influences |= column.refs
                across |= column.across
        is_difference = isinstance(node, exp.Except)
        return Relation(by_name(columns), influences, across=across or is_difference)

    def _ordered(self, node: exp.Expr, relation: Relation, scope: Scope | None, *, is_outermost: bool = False) -> Relation:
        """After `ORDER BY`, `LIMIT` and `OFFSET` of a whole query, which speak of its columns."""
        limited = bool(node.args.get("limit") or node.args.get("offset"))
        order = node.args.get("order")
        influences, across = relation.influences, relation.across or limited
        if order is not None and (limited or not is_outermost):
            inner = Scope(self.query, scope.ctes if scope else {}, scope, {"": relation})
            for refs, is_across in self._keys(order.expressions, list(relation.columns.values()), inner):
                influences |= refs
                across |= is_across
        return replace(relation, influences=influences, across=across)

    def _select(self, node: exp.Select, scope: Scope, *, is_outermost: bool = False) -> Relation:
        reading = Reading(self.lookup)
        read_tables(node, scope, reading)
        scope.windows = {window.name.lower(): window for window in node.args.get("windows") or []}
        projected = Projection(scope)
        for expression in node.expressions:
            projected.add(expression)
        columns = projected.columns
        for clause in ("where", "having", "qualify"):
            if node.args.get(clause) is not None:
                reading.decided_by(value_of(node.args[clause].this, scope))
        self._group(node, scope, reading, columns)
        limited = bool(node.args.get("limit") or node.args.get("offset") or node.args.get("sample"))
        reading.across |= limited
        distinct = node.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is None:
            for column in columns:
                reading.decided_by(column)
        elif distinct is not None:
            reading.decided_by(values_of(distinct.args["on"].expressions, scope))
            reading.across = True
        order = node.args.get("order")
        if order is not None and (limited or distinct is not None or not is_outermost):
            for refs, across in self._keys(order.expressions, columns, scope):
                reading.influences |= refs
                reading.across |= across
        return Relation(by_name(columns), reading.influences, rest=projected.rest, across=reading.across)

    def _group(self, node: exp.Select, scope: Scope, reading: Reading, columns: list[Column]) -> None:
        group = node.args.get("group")
        if group is None:
            return
        if group.args.get("all"):
            keys = [column for column, is_key in zip(columns, _are_keys(node, columns), strict=True) if is_key]
            for column in keys:
                reading.decided_by(column)
        listed = [*group.expressions]
        for part in ("grouping_sets", "rollup", "cube"):
            listed += group.args.get(part) or []
        for refs, across in self._keys(listed, columns, scope):
            reading.influences |= refs
            reading.across |= across

    def _keys(
        self, expressions: Iterable[exp.Expr], columns: list[Column], scope: Scope
    ) -> Iterator[tuple[frozenset[Ref], bool]]:
        """What each key of `GROUP BY` or `ORDER BY` is: a place in the select list, one of its names, or an expression.

        A name may be both a column and an alias; then both count.
        """
        from sqlglot import exp

        named = {column.name.lower(): column for column in columns}
        for expression in expressions:
            bare = expression.this if isinstance(expression, exp.Ordered) else expression
            if isinstance(bare, exp.Literal) and bare.is_int and 0 < int(bare.name) <= len(columns):
                found = [columns[int(bare.name) - 1]]
            elif isinstance(bare, exp.Column) and bare.name.lower() in named and not bare.table:
                found = [named[bare.name.lower()], *self._if_any(bare, scope)]
            elif bare.name.upper() == "ALL" and isinstance(bare, (exp.Var, exp.Column)):
                found = columns
            else:
                found = [value_of(bare, scope)]
            for column in found:
                yield column.refs, column.across

    @staticmethod
    def _if_any(column: exp.Column, scope: Scope) -> list[Column]:
        try:
            return [value_of(column, scope)]
        except Unresolved:
            return []


def _paired(node: exp.SetOperation, left: Relation, right: Relation) -> Iterator[Column]:
    from sqlglot import exp

    if isinstance(node, exp.Except):
        yield from left.columns.values()
        return
    if node.args.get("by_name"):
        for key in dict.fromkeys((*left.columns, *right.columns)):
            both = [relation.columns[key] for relation in (left, right) if key in relation.columns]
            yield merged(both[0].name, both)
        return
    if len(left.columns) != len(right.columns):
        raise Unresolved(f"the parts of a {node.key} have {len(left.columns)} and {len(right.columns)} columns")
    for one, other in zip(left.columns.values(), right.columns.values(), strict=True):
        yield merged(one.name, [one, other])


def _are_keys(node: exp.Select, columns: list[Column]) -> list[bool]:
    """Which items of the select list hold no aggregate, so that `GROUP BY ALL` groups by them; all, if that is not plain."""
    from sqlglot import exp

    if len(columns) != len(node.expressions):
        return [True] * len(columns)
    return [expression.find(exp.AggFunc) is None for expression in node.expressions]


def _table_type() -> type[exp.Expr]:
    from sqlglot import exp

    return exp.Table
