"""What a DuckDB statement needs of each table: which columns, which rows at most, and whether any.

All that is told is an upper bound. DuckDB runs the statement as it is on what was brought, so that columns and rows
beyond what it needs change nothing. Whatever is not surely understood counts as needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.restrictions import conjuncts, restriction

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

#: The relation `schema.table` that a name, which may be without its schema, means; None for what is not published.
RelationOf = Callable[[str, str], str | None]

#: Functions of one row, which need no other row to be right.
_OF_ONE_ROW = ("Cast", "TryCast", "Left", "Right", "Lower", "Upper", "Length", "Coalesce")

#: What may stand in a table's place without changing which of its columns are meant.
_PLAIN_TABLE = {"this", "db", "catalog", "alias"}

#: Parts of a query that see more rows than they show.
_SEES_ALL = ("where", "group", "having", "qualify", "windows", "distinct", "order", "offset", "joins", "laterals", "sample")


@dataclass(frozen=True)
class Need:
    """What a statement needs of one table.

    Attributes:
        columns: as the table spells them, in its order; none where only rows are counted.
        restriction: GoogleSQL that holds for every row that can matter; "" for all rows.
        limit: so many rows, whichever they are, suffice; None for all.
        rows: whether any row is needed; if not, the columns' types are enough.

    """

    columns: tuple[str, ...]
    restriction: str = ""
    limit: int | None = None
    rows: bool = True


def named_in(sql: str, empty: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The tables that a DuckDB statement names, as `(schema, name)`; "" for a schema that is not said. None is left out.

    Args:
        empty: a database without tables; where there are any, DuckDB tells what views are made of.

    """
    import duckdb
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        named = [exp.to_table(name, dialect="duckdb") for name in empty.get_table_names(sql, qualified=True)]
    except duckdb.Error:  # Several statements, or one on a table that somebody made.
        try:
            named = [node for tree in sqlglot.parse(sql, read="duckdb") if tree for node in tree.find_all(exp.Table)]
        except SqlglotError:
            return []
    return sorted({(table.db, table.name) for table in named})


def needs(sql: str, tables: Mapping[str, Mapping[str, Any]], relation_of: RelationOf) -> dict[str, Need]:
    """What the DuckDB statement `sql` needs of each of `tables`, by relation.

    Args:
        tables: relation -> column -> its BigQuery field, with `field_type` and `mode`.

    """
    whole = {relation: Need(tuple(fields)) for relation, fields in tables.items()}
    statement = _Statement.parsed(sql, relation_of)
    if statement is None:
        return whole
    return {relation: statement.need(relation, fields) if fields else whole[relation] for relation, fields in tables.items()}


@dataclass(frozen=True)
class _Statement:
    tree: exp.Expr
    words: frozenset[str]
    nodes: Mapping[str, Sequence[exp.Table]]

    @classmethod
    def parsed(cls, sql: str, relation_of: RelationOf) -> _Statement | None:
        """None where it cannot be read with certainty."""
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            trees = sqlglot.parse(sql, read="duckdb")
            tokens = sqlglot.tokenize(sql, read="duckdb")
        except SqlglotError:
            return None
        tree = trees[0] if len(trees) == 1 else None
        if tree is None or tree.find(exp.Command, exp.Pivot, exp.Summarize):
            return None
        if any(join.method for join in tree.find_all(exp.Join)):  # NATURAL, POSITIONAL: the columns are not said.
            return None
        nodes: dict[str, list[exp.Table]] = {}
        for node in tree.find_all(exp.Table):
            relation = relation_of(node.db, node.name)
            if relation:
                nodes.setdefault(relation, []).append(node)
        return cls(tree, frozenset(token.text.casefold() for token in tokens), nodes)

    def need(self, relation: str, fields: Mapping[str, Any]) -> Need:
        from sqlglot import exp

        nodes = self.nodes.get(relation)
        if not nodes:
            return Need(tuple(fields))
        if all(node.find_ancestor(exp.Describe) for node in nodes):
            return Need((), rows=False)
        if any(self._needs_all_columns(node) for node in nodes):
            columns = tuple(fields)
        else:
            columns = tuple(name for name in fields if name.casefold() in self.words)
        select = self._alone_in(nodes)
        if select is None:
            return Need(columns)
        where = select.args.get("where")
        parts = conjuncts(where.this) if where else []
        return Need(columns, restriction(parts, nodes[0].alias_or_name, fields), self._limit(select))

    def _needs_all_columns(self, node: exp.Table) -> bool:
        """Whether columns of the table may be meant that no word of the statement names."""
        from sqlglot import exp

        alias = node.args.get("alias")
        if alias is not None and alias.columns:  # They are renamed by their place.
            return True
        called = {node.name.casefold(), node.alias_or_name.casefold()}
        if any(not c.table and c.name.casefold() in called for c in self.tree.find_all(exp.Column)):  # The row as a value.
            return True
        around = node.find_ancestor(exp.Select)
        for star in self.tree.find_all(exp.Star, exp.Columns):
            counted = isinstance(star.parent, exp.Count)
            beside = star.find_ancestor(exp.Select)
            if not counted and (beside is None or around is None or beside is around):
                return True
        return around is None

    def _alone_in(self, nodes: Sequence[exp.Table]) -> exp.Select | None:
        """The query that reads nothing but this table, once, as it is."""
        from sqlglot import exp

        (node, *others) = nodes
        ctes = {cte.alias_or_name.casefold() for cte in self.tree.find_all(exp.CTE)}
        source = node.parent
        if others or node.name.casefold() in ctes or not isinstance(source, exp.From):
            return None
        if any(value for name, value in node.args.items() if name not in _PLAIN_TABLE):
            return None
        alias, select = node.args.get("alias"), source.parent
        if not isinstance(select, exp.Select) or (alias is not None and alias.columns):
            return None
        unusual = ("joins", "laterals", "sample", "connect", "match", "pivots", "into")
        return None if any(select.args.get(name) for name in unusual) else select

    def _limit(self, select: exp.Select) -> int | None:
        from sqlglot import exp

        limit = select.args.get("limit")
        if select is not self.tree or not isinstance(limit, exp.Limit) or any(select.args.get(part) for part in _SEES_ALL):
            return None
        if any(type(f).__name__ not in _OF_ONE_ROW for e in select.expressions for f in e.find_all(exp.Func, exp.Subquery)):
            return None
        rows = limit.expression
        if any(value for name, value in limit.args.items() if name != "expression"):  # PERCENT
            return None
        return int(rows.this) if isinstance(rows, exp.Literal) and rows.this.isdigit() else None
