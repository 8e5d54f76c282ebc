"""Rewriting a query so that each row carries the lake rows that it was made of.

A row of a plain query carries those of the rows that were joined to make it; a row of a group, or of `DISTINCT`, those of all
rows of the group. So the lake rows that a row carries are enough to make it again, whatever becomes of all others. Where a row
depends on rows beside those that are in it, as with windows, limits and subqueries in conditions, that is not so, and the query
is not rewritten.

The rewritten query is DuckDB's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

#: The column that carries them: a list.
LAKE = "__lake"


class NotCarried(ValueError):
    """The query cannot be rewritten. The message says which part of it is in the way."""


#: What the table that a query names is called in the rewritten one, where it has the column `LAKE`.
Rename = Callable[["exp.Table"], str]


def carrying(query: exp.Expr, rename: Rename, aggregates: Collection[str]) -> exp.Expr:
    """`query` with the column `LAKE` behind its own; `aggregates` are the names of all functions that aggregate.

    Raises:
        NotCarried: with the reason.

    """
    return _Rewriter(rename, aggregates).query(query.copy(), frozenset())


def without(query: exp.Expr, names: Collection[str]) -> exp.Expr:
    """`query` with NULL in the place of the columns of these names, in small letters, where it computes them itself."""
    from sqlglot import exp

    for item in query.expressions if isinstance(query, exp.Select) else ():
        if isinstance(item, exp.Alias) and item.alias.lower() in names:
            item.set("this", exp.null())
    return query


class _Rewriter:
    def __init__(self, rename: Rename, aggregates: Collection[str]) -> None:
        self.rename = rename
        self.aggregates = aggregates
        self.unnamed = 0

    def query(self, node: exp.Expr, ctes: frozenset[str]) -> exp.Expr:
        from sqlglot import exp

        if isinstance(node, exp.Subquery) and not node.args.get("joins"):
            if any(node.args.get(part) for part in ("limit", "offset")):
                raise NotCarried("a limit")
            return self.query(node.this, self._ctes(node, ctes))
        ctes = self._ctes(node, ctes)
        if isinstance(node, exp.Union):
            return self._union(node, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, ctes)
        raise NotCarried(f"{node.key.upper()}")

    def _ctes(self, node: exp.Expr, outer: frozenset[str]) -> frozenset[str]:
        clause = node.args.get("with_")
        if clause is None:
            return outer
        if clause.recursive:
            raise NotCarried("a recursive query")
        names = set(outer)
        for cte in clause.expressions:
            if cte.args["alias"].columns:
                raise NotCarried(f"columns of {cte.alias} that are named by their place")
            cte.set("this", self.query(cte.this, frozenset(names)))
            names.add(cte.alias.lower())
        return frozenset(names)

    def _union(self, node: exp.Union, ctes: frozenset[str]) -> exp.Expr:
        if node.args.get("limit") or node.args.get("offset"):
            raise NotCarried("a limit")
        node.set("order", None)
        node.set("this", self.query(node.this, ctes))
        node.set("expression", self.query(node.expression, ctes))
        if not node.args.get("distinct"):
            return node
        node.set("distinct", False)
        return _grouped(node)

    def _select(self, node: exp.Select, ctes: frozenset[str]) -> exp.Expr:
        from sqlglot import exp

        for part in ("limit", "offset", "sample", "qualify"):
            if node.args.get(part):
                raise NotCarried(f"{part.upper()}")
        node.set("order", None)
        carriers: list[str] = []
        start = node.args.get("from_")
        if start is not None:
            start.set("this", self._table(start.this, ctes, carriers))
        self._joins(node, ctes, carriers)
        if node.args.get("laterals"):
            raise NotCarried("a lateral view")
        self._refuse_subqueries(node)
        node.set("expressions", [_without_lake(item, carriers) for item in node.expressions])
        lake = _concatenated(carriers)
        if node.args.get("group") is not None or node.args.get("having") is not None or self._aggregates(node):
            lake = f"COALESCE(LIST_DISTINCT(FLATTEN(LIST({lake}))), [])"
        distinct = node.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is not None:
            raise NotCarried("DISTINCT ON")
        node.set("distinct", None)
        node.append("expressions", exp.alias_(exp.maybe_parse(lake, dialect="duckdb"), LAKE))
        return node if distinct is None else _grouped(node)

    def _joins(self, node: exp.Expr, ctes: frozenset[str], carriers: list[str]) -> None:
        for join in node.args.get("joins") or []:
            if join.args.get("method"):
                raise NotCarried(f"a {join.args['method'].lower()} join")
            kind = {join.kind, join.side} & {"SEMI", "ANTI"}
            if "SEMI" in kind:
                raise NotCarried("a semi join")
            # No row of the right side of an anti join is in the result, and fewer of them drop no row of it.
            join.set("this", self._table(join.this, ctes, [] if kind else carriers))

    def _table(self, node: exp.Expr, ctes: frozenset[str], carriers: list[str]) -> exp.Expr:
        """The table with its column `LAKE`, and its alias among the `carriers`, if it has one."""
        from sqlglot import exp

        if node.args.get("pivots") or node.args.get("sample"):
            raise NotCarried("a pivot or sample")
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
            node.set("this", self._table(node.this, ctes, carriers))
            return node
        made: exp.Expr = node
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            alias = node.alias or node.name
            if node.args.get("db") or node.name.lower() not in ctes:
                made = exp.to_table(self.rename(node))
                made.set("joins", node.args.get("joins"))
            if node.alias_column_names:
                raise NotCarried(f"columns of {alias} that are named by their place")
            made.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
            carriers.append(alias)
        elif isinstance(node, exp.Subquery):
            alias = node.alias or self._new_name()
            if node.alias_column_names:
                raise NotCarried(f"columns of {alias} that are named by their place")
            node.set("this", self.query(node.this, self._ctes(node, ctes)))
            node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
            carriers.append(alias)
        elif isinstance(node, exp.Lateral):
            raise NotCarried("a lateral query")
        self._joins(made, ctes, carriers)
        return made

    def _new_name(self) -> str:
        self.unnamed += 1
        return f"__unnamed_{self.unnamed}"

    def _refuse_subqueries(self, node: exp.Select) -> None:
        """Those in expressions: which rows they find decides, and these would not be carried."""
        from sqlglot import exp

        conditions = [join.args["on"] for join in node.args.get("joins") or [] if join.args.get("on") is not None]
        clauses = [node.args[part] for part in ("where", "having", "group") if node.args.get(part) is not None]
        for part in (*node.expressions, *conditions, *clauses):
            if part.find(exp.Query) is not None:
                raise NotCarried("a subquery in an expression")
            if part.find(exp.Columns) is not None:
                raise NotCarried("columns by a pattern")

    def _aggregates(self, node: exp.Select) -> bool:
        from sqlglot import exp

        for item in node.expressions:
            for function in item.find_all(exp.Func):
                is_aggregate = isinstance(function, exp.AggFunc) or function.name.lower() in self.aggregates
                is_windowed = isinstance(function.parent, exp.Window) or (
                    isinstance(function.parent, exp.Filter) and isinstance(function.parent.parent, exp.Window)
                )
                if is_aggregate and not is_windowed:
                    return True
        return False


def _without_lake(item: exp.Expr, carriers: Collection[str]) -> exp.Expr:
    """A `*` does not show `LAKE`."""
    from sqlglot import exp

    star = item if isinstance(item, exp.Star) else item.this if isinstance(item, exp.Column) else None
    if not isinstance(star, exp.Star):
        return item
    of = item.table.lower() if isinstance(item, exp.Column) else None
    if carriers and (of is None or of in {alias.lower() for alias in carriers}):
        star.set("except_", [*(star.args.get("except_") or []), exp.column(LAKE)])
    return item


def _concatenated(carriers: Collection[str]) -> str:
    """What the rows of all tables carry; that of an outer join may lack a row."""
    from sqlglot import exp

    lists = [f"COALESCE({exp.column(LAKE, table=alias, quoted=True).sql('duckdb')}, [])" for alias in carriers]
    if not lists:
        return "[]"
    found = lists[0]
    for other in lists[1:]:
        found = f"LIST_CONCAT({found}, {other})"
    return found


def _grouped(query: exp.Expr) -> exp.Expr:
    """One row for those that are alike, which carries what they do."""
    from sqlglot import exp

    clause = query.args.get("with_")
    query.set("with_", None)
    outer = exp.maybe_parse(
        f"SELECT * EXCLUDE ({LAKE}), LIST_DISTINCT(FLATTEN(LIST({LAKE}))) AS {LAKE} FROM (SELECT 1) AS __alike GROUP BY ALL",
        dialect="duckdb",
    )
    outer.args["from_"].this.set("this", query)
    outer.set("with_", clause)
    return outer
