"""Of which columns the columns of a query are made: awkward queries, and random ones that are run."""

import random
from pathlib import Path

import duckdb
import pytest
import yaml

from caudal.transform.columns.query import parse, resolve
from caudal.transform.columns.values import Relation, Unresolved, table

CORPUS = yaml.safe_load(Path(__file__).with_name("corpus.yml").read_text())
TABLES = {
    "t": table("t", ["a", "b", "c", "l", "s"]),
    "u": table("u", ["a", "x", "y"]),
    "open": table("open", [], is_open=True),
}


def look_up(node) -> Relation:
    if node.name.lower() not in TABLES:
        raise Unresolved(f"no such table {node.name}")
    return TABLES[node.name.lower()]


def written(column) -> set[str]:
    parts = {f"{'=' if is_copy else '~'}{'.'.join(ref)}" for ref, is_copy in column.origins.items()}
    parts |= {f"@{'.'.join(ref)}" for ref in column.influences}
    return parts | ({"^"} if column.across else set())


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["sql"][:60] or "nothing")
def test_the_columns_of_an_awkward_query_are_told_or_said_to_be_unknown(case):
    dialect = case.get("dialect", "duckdb")
    if "unknown" in case:
        with pytest.raises(Unresolved, match=case["unknown"]):
            resolve(parse(case["sql"], dialect), look_up)
        return
    found = resolve(parse(case["sql"], dialect), look_up)
    assert {c.name: written(c) for c in found.columns.values()} == {
        name: set(made_of.split()) for name, made_of in case["columns"].items()
    }
    assert {".".join(ref) for ref in found.influences} == set(case.get("rows", "").split())
    assert found.across == case.get("across", False)
    assert found.rest == case.get("rest")


class Queries:
    """Random queries over `t` and `u`, which have only numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = 0

    def name(self) -> str:
        self.names += 1
        return f"n{self.names}"

    def source(self, depth: int) -> tuple[str, list[str]]:
        if depth and self.random.random() < 0.5:
            sql, columns = self.query(depth - 1)
            return f"({sql})", columns
        return self.random.choice([("t", ["a", "b", "c"]), ("u", ["a", "x", "y"])])

    def scalar(self, names: list[str]) -> str:
        one, other = self.random.choice(names), self.random.choice(names)
        shapes = (one, f"{one} + {other}", f"coalesce({one}, {other})", f"case when {one} > 2 then {other} end", "7")
        return self.random.choice(shapes)

    def query(self, depth: int) -> tuple[str, list[str]]:
        left, columns = self.source(depth)
        alias = self.name()
        reach = [f"{alias}.{c}" for c in columns]
        tables = f"{left} as {alias}"
        if self.random.random() < 0.4:
            right, others = self.source(depth)
            second = self.name()
            kind = self.random.choice(["join", "left join", "full join"])
            tables += (
                f" {kind} {right} as {second} on {alias}.{self.random.choice(columns)} = {second}.{self.random.choice(others)}"
            )
            reach += [f"{second}.{c}" for c in others]
        where = f" where {self.random.choice(reach)} > {self.random.randint(0, 3)}" if self.random.random() < 0.4 else ""
        if self.random.random() < 0.15:
            where += f"{' and' if where else ' where'} {self.random.choice(reach)} in (select x from u where y > 1)"
        made = [self.name() for _ in range(self.random.randint(1, 3))]
        shape = self.random.choice(["plain", "plain", "group", "distinct", "window", "union", "limit", "star", "subquery"])
        if shape == "star":
            return (
                f"select * from (select {', '.join(f'{c} as {m}' for c, m in zip(reach, made, strict=False))} from {tables}{where})",
                made[: len(reach)],
            )
        values = [self.scalar(reach) for _ in made]
        if shape == "group":
            key, *_ = reach
            values = [key, *(f"{self.random.choice(['sum', 'min', 'max', 'count'])}({v})" for v in values[1:])]
            return f"select {self.listed(values, made)} from {tables}{where} group by {key}", made
        if shape == "window":
            over = f"over (partition by {self.random.choice(reach)})"
            values = [f"sum({values[0]}) {over}", *values[1:]]
        if shape == "subquery":
            values = [f"(select max(y) from u where u.a = {reach[0]})", *values[1:]]
        sql = f"select {'distinct ' if shape == 'distinct' else ''}{self.listed(values, made)} from {tables}{where}"
        if shape == "union":
            other = ", ".join(self.scalar(["t.a", "t.b", "t.c"]) for _ in made)
            sql += f" union {self.random.choice(['', 'all '])}select {other} from t"
        if shape == "limit":
            sql = f"select * from ({sql}) order by all limit 3"
        return sql, made

    @staticmethod
    def listed(values: list[str], names: list[str]) -> str:
        return ", ".join(f"{value} as {name}" for value, name in zip(values, names, strict=True))


@pytest.fixture(scope="module")
def engine():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def fill(engine, values: dict[str, list]) -> None:
    for name, columns in (("t", "abc"), ("u", "axy")):
        rows = zip(*(values[f"{name}.{c}"] for c in columns), strict=True)
        body = ", ".join("(" + ", ".join("null" if v is None else str(v) for v in row) + ")" for row in rows)
        engine.execute(f"create or replace table {name} as select * from (values {body}) as v({', '.join(columns)})")


def test_a_column_that_is_not_named_never_changes_what_comes_out(engine):
    small = {"t": table("t", ["a", "b", "c"]), "u": table("u", ["a", "x", "y"])}
    changed = checked = 0
    for seed in range(50):
        queries = Queries(seed)
        sql, _ = queries.query(2)
        found = resolve(parse(sql, "duckdb"), lambda node: small[node.name])
        pick = queries.random
        values = {
            f"{t}.{c}": [pick.choice([0, 1, 2, 3, 4, None]) for _ in range(6)]
            for t, cs in (("t", "abc"), ("u", "axy"))
            for c in cs
        }
        fill(engine, values)
        before = outcome(engine, sql)
        assert list(before) == [c.name for c in found.columns.values()], sql
        for source in values:
            fill(engine, {**values, source: [pick.choice([0, 1, 2, 3, 4, 9, None]) for _ in range(6)]})
            after = outcome(engine, sql)
            ref = tuple(source.split("."))
            for column in found.columns.values():
                if ref in column.refs or ref in found.influences:
                    changed += before[column.name] != after[column.name]
                    continue
                checked += 1
                assert before[column.name] == after[column.name], f"{source} changes {column.name} of {sql}"
    assert checked > 150
    assert changed > 100  # and what is named does matter


def outcome(engine, sql: str) -> dict[str, list]:
    result = engine.execute(sql)
    names = [column[0] for column in result.description]
    return {
        name: sorted(map(str, values)) for name, values in zip(names, zip(*result.fetchall(), strict=True) or [], strict=False)
    } or {name: [] for name in names}
