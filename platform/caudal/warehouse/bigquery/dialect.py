"""DuckDB's SQL as GoogleSQL: sqlglot's translation, what it leaves out, and names put where tables are.

Only what rules and audits are made of, and what people write in them, is looked at. What has no equal is refused by name; what
is not known is left for BigQuery to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery.explained import BigQueryRefused

if TYPE_CHECKING:
    from sqlglot import exp


class Unknown(BigQueryRefused):
    """A statement of DuckDB's that is wrong, or has no equal in GoogleSQL."""


@dataclass(frozen=True)
class Statement:
    """A statement to be run.

    Attributes:
        sql: GoogleSQL; empty if there is nothing to do.
        name: of the temporary view or table that it makes.
        view: the query of a temporary view, which BigQuery does not have: it stands wherever the view is named.
        is_temporary_table: `sql` is the query of a temporary table.
        changes: it makes, changes or removes something.

    """

    sql: str = ""
    name: str = ""
    view: Any = None
    is_temporary_table: bool = False
    changes: bool = False


#: Types of more digits than an INT64 has, by sqlglot's names.
_WIDE = ("INT128", "UINT128", "UINT64")

#: What stands for a table, given its catalogue, schema and name, and whether it is written: `project.dataset.table` or a query.
Source = Callable[[str, str, str, bool], Any]

#: DuckDB's type of a column, given what a FROM takes in GoogleSQL, and its name.
TypeOf = Callable[[str, str], str]


def translated(query: str, source: Source, type_of: TypeOf) -> Statement:
    """One statement of DuckDB's as GoogleSQL.

    Raises:
        Unknown: it cannot be read, or has no equal.

    """
    import sqlglot
    from sqlglot import exp

    try:
        statements = [each for each in sqlglot.parse(query, read="duckdb") if each is not None]
    except sqlglot.errors.SqlglotError as wrong:
        raise Unknown(f"it is no SQL that DuckDB would take: {str(wrong).splitlines()[0]}") from None
    known = exp.Query | exp.Create | exp.Insert | exp.Update | exp.Delete | exp.Merge
    if len(statements) != 1 or not isinstance(statements[0], known):
        raise Unknown(
            "expected one statement, and one that BigQuery has as well: a query, CREATE, INSERT, UPDATE, DELETE or MERGE"
        )
    (tree,) = statements
    if isinstance(tree, exp.Create) and tree.kind == "SCHEMA":
        return Statement()  # Datasets are made when something is published into them.
    if isinstance(tree, exp.Create) and tree.find(exp.TemporaryProperty):
        made = tree.expression
        _place(made, source)
        if tree.kind == "VIEW":
            return Statement(name=tree.this.name, view=made)
        return Statement(_written(made, type_of), tree.this.name, is_temporary_table=True, changes=True)
    _place(tree, source)
    return Statement(_written(tree, type_of), changes=not isinstance(tree, exp.Query))


def _written(tree: exp.Expr, type_of: TypeOf) -> str:
    from sqlglot import exp

    for select in list(tree.find_all(exp.Select)):
        _adapt_select(select)
    for node in list(tree.walk(bfs=False)):
        _adapt(node, type_of)
    return tree.sql("bigquery")


def _place(tree: exp.Expr, source: Source) -> None:
    """Put each table where it is, and the queries of temporary views in the places of their names."""
    from sqlglot import exp

    target = None if isinstance(tree, exp.Query) else tree.this
    target = target.this if isinstance(target, exp.Schema) else target
    own = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name.lower() in own):
            continue
        found = source(table.catalog, table.db, table.name, table is target)
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
        if isinstance(found, str):
            place = exp.Table(
                **{
                    part: exp.to_identifier(name, quoted=True)
                    for part, name in zip(("catalog", "db", "this"), found.split("."), strict=True)
                }
            )
            is_read = isinstance(table.parent, exp.From | exp.Join)
            kept = {key: value for key, value in table.args.items() if key not in ("this", "db", "catalog", "alias")}
            for key, value in kept.items():
                place.set(key, value)
            place.set("alias", alias if is_read else None)
        else:
            place = exp.Subquery(this=found, alias=alias)
            for key in ("sample", "joins"):
                if table.args.get(key):
                    place.set(key, table.args[key])
        table.replace(place)


def _adapt_select(select: exp.Select) -> None:
    from sqlglot import exp

    if select.args.get("where") and not select.args.get("from_"):  # Which GoogleSQL does not allow.
        select.set(
            "from_",
            exp.From(this=exp.Subquery(this=exp.select("1 AS one"), alias=exp.TableAlias(this=exp.to_identifier("nothing")))),
        )
    qualify, where = select.args.get("qualify"), select.args.get("where")
    if qualify and not (where or select.args.get("group") or select.args.get("having")):
        select.set("where", exp.Where(this=exp.true()))  # BigQuery takes QUALIFY only beside one of them.
    sample = select.args.get("sample")
    if sample is not None:
        _sample(select, sample)
    quantiles = [each for each in select.expressions if isinstance(each.unalias(), exp.PercentileCont | exp.Median)]
    if quantiles:
        if len(quantiles) < len(select.expressions) or select.args.get("group"):
            raise Unknown("BigQuery has no quantile_cont or median beside other columns or GROUP BY: use approx_quantile")
        for each in quantiles:
            inner = each.unalias()
            half = exp.Literal.number("0.5")
            quantile = exp.PercentileCont(this=inner.this.copy(), expression=(inner.args.get("expression") or half).copy())
            inner.replace(exp.Window(this=quantile))
        select.limit(1, copy=False)


def _sample(select: exp.Select, sample: exp.Expr) -> None:
    """The same rows each time: those whose fingerprints are the least."""
    from sqlglot import exp

    size = sample.args.get("size")
    if size is None or select.args.get("group"):
        raise Unknown("a sample is a number of rows here: USING SAMPLE reservoir(1000 ROWS)")
    select.set("sample", None)
    picked = [each.unalias().copy() for each in select.expressions]
    if any(each.find(exp.Star) for each in picked):
        raise Unknown("a sample names its columns, instead of *")
    fingerprint = exp.func("FARM_FINGERPRINT", exp.func("TO_JSON_STRING", exp.func("STRUCT", *picked)))
    select.order_by(fingerprint, copy=False)
    select.limit(int(size.name), copy=False)


def _adapt(node: exp.Expr, type_of: TypeOf) -> None:
    from sqlglot import exp

    match node:
        case exp.Div():
            # DuckDB's quotient is a DOUBLE, and of a division by zero NULL or an infinity.
            left = exp.cast(node.this.copy(), exp.DataType.Type.DOUBLE)
            node.replace(exp.func("IEEE_DIVIDE", left, node.expression.copy()))
        case exp.Anonymous() if node.name.lower() == "hash":
            struct = exp.func("STRUCT", *[each.copy() for each in node.expressions])
            node.replace(exp.func("FARM_FINGERPRINT", exp.func("TO_JSON_STRING", struct)))
        case exp.Anonymous() if node.name.lower() == "isfinite":
            value = node.expressions[0]
            infinite, nan = exp.func("IS_INF", value.copy()), exp.func("IS_NAN", value.copy())
            node.replace(exp.paren(exp.not_(exp.paren(exp.or_(infinite, nan)))))
        case exp.SHA2():  # DuckDB's is text.
            node.replace(exp.LowerHex(this=node.copy()))
        case exp.ApproxQuantile():
            percent = exp.Literal.number(round(100 * float(node.args["quantile"].name)))
            found = exp.func("APPROX_QUANTILES", node.this.copy(), exp.Literal.number(100))
            node.replace(exp.Bracket(this=found, expressions=[percent], offset=0, safe=False))
        case exp.Window() if node.args.get("partition_by"):
            # BigQuery does not take floating-point numbers, structs and arrays there; JSON is one text for equal values.
            keys = [
                exp.func("TO_JSON_STRING", key.copy()) if isinstance(key, exp.Column) else key
                for key in node.args["partition_by"]
            ]
            node.set("partition_by", keys)
        case exp.Typeof():
            node.replace(exp.Literal.string(_type(node, type_of)))
        case exp.Cast() if node.to.this.value in _WIDE:
            node.set("to", exp.DataType.build("BIGNUMERIC", dialect="bigquery"))


def _type(node: exp.Expr, type_of: TypeOf) -> str:
    from sqlglot import exp

    select = node.find_ancestor(exp.Select)
    column = node.this
    if not isinstance(column, exp.Column) or select is None:
        raise Unknown("typeof() is known of a column alone")
    for table in _tables(select):
        if not column.table or column.table == table.alias_or_name:
            bare = table.copy()
            bare.set("alias", None)
            return type_of(bare.sql("bigquery"), column.name)
    raise Unknown(f"typeof({column.name}) is of no table that the statement reads")


def _tables(select: exp.Select) -> Iterator[exp.Expr]:
    start = select.args.get("from_")
    if start is not None:
        yield start.this
    for join in select.args.get("joins") or ():
        yield join.this
