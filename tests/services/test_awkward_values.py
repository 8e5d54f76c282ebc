"""The dispatched macros on values that two engines like to take differently, against figures worked out by hand.

The server is DuckDB underneath and translates GoogleSQL, so that it agreeing with DuckDB alone proves little: the figures here are
what GoogleSQL's documentation says, and Google's analyzer has to take the SQL.
"""

import datetime as dt
import json
import shutil
from decimal import Decimal as D
from pathlib import Path

import duckdb
import pytest

from caudal.transform.columns.project import RENDERED
from caudal.transform.manifest import read_manifest
from caudal.transform.project import Project, prepare_manifest
from tests.services.both_engines import Engines, make_datasets
from tests.services.googlesql import analyze

DBT = Path(__file__).parents[2] / "dbt"
MOMENT = "timestamp '{}+00'"

#: An expression in a model, and what it is.
AWKWARD = {
    "{{ ratio(1, 3, 9, 6) }}": D("0.333333"),
    "{{ ratio(2, 3, 9, 6) }}": D("0.666667"),
    "{{ ratio(-1, 8, 9, 2) }}": D("-0.13"),
    "{{ ratio(1, -8, 9, 2) }}": D("-0.13"),
    "{{ ratio(5, 0, 9, 6) }}": None,
    "{{ ratio('cast(null as bigint)', 2, 9, 6) }}": None,
    # Rounded to nine digits first, it would be 0.000001.
    "{{ ratio(49999999, 100000000000000, 9, 6) }}": D("0.000000"),
    "{{ decimal(\"'2.345'\", 9, 2) }}": D("2.35"),
    "{{ decimal(\"'-2.345'\", 9, 2) }}": D("-2.35"),
    "{{ decimal(\"'0.005'\", 9, 2) }}": D("0.01"),
    "{{ whole_quotient(-7, 2) }}": -3,
    "{{ whole_quotient(7, 0) }}": None,
    "{{ integer_or_null(\"' -12 '\") }}": -12,
    "{{ integer_or_null(\"'1.5'\") }}": None,
    "{{ integer_or_null(\"'0x1f'\") }}": None,
    "{{ integer_or_null(\"'99999999999999999999'\") }}": None,
    "{{ decimal_or_null(\"'1e3'\", 9, 2) }}": None,
    "{{ decimal_or_null(\"' 12.345 '\", 9, 2) }}": D("12.35"),
    "{{ decimal_or_null(\"'12345678'\", 9, 2) }}": None,
    "{{ date_or_null(\"'2023-02-29'\") }}": None,
    "{{ date_or_null(\"'1899-12-31'\") }}": dt.date(1899, 12, 31),
    "{{ date_or_null(\"'2024-1-5'\") }}": None,
    "{{ matches(\"'Łódź'\", '^\\\\pL+$') }}": True,
    "{{ matches(\"'Łódź'\", '^\\\\w+$') }}": False,
    "{{ extracted(\"'order 12/34'\", '([0-9]+)/') }}": "12",
    "{{ extracted(\"'none'\", '([0-9]+)/') }}": None,
    "{{ replaced(\"'a1b22'\", '([0-9]+)', '<\\\\1>') }}": "a<1>b<22>",
    "{{ part_of(\"'a,b'\", ',', 2) }}": "b",
    "{{ part_of(\"'a,b'\", ',', 3) }}": None,
    "{{ days_between(\"date '1970-01-02'\", \"date '1969-12-30'\") }}": -3,
    "{{ days_later(\"date '1969-12-31'\", 60) }}": dt.date(1970, 3, 1),
    "{{ monday_of(\"date '1969-12-28'\") }}": dt.date(1969, 12, 22),
    "{{ weekday_of(\"date '1969-12-28'\") }}": 7,
    "{{ weekday_of(\"date '2024-01-01'\") }}": 1,
    "{{ on_days(clock_of('moment'), [\"date '1970-01-01'\"]) }}": True,
    "{{ on_days(clock_of('moment'), [\"date '1969-12-31'\", \"date '1970-01-01'\", \"date '1970-01-05'\"]) }}": True,
    "{{ on_days(clock_of('moment'), [\"date '1969-12-31'\", \"date '1970-01-02'\"]) }}": False,
    "{{ day_of(\"moment\", 'America/New_York') }}": dt.date(1969, 12, 31),
    '{{ day_of("moment") }}': dt.date(1970, 1, 1),
    "{{ clock_of(\"moment\", 'Asia/Kolkata') }}": dt.datetime(1970, 1, 1, 9, 0),  # noqa: DTZ001 - what a clock shows
    "{{ days_between(\"date '2024-02-28'\", \"date '2024-03-01'\") }}": 2,
}
MODEL = """
with given as (select {{ moment_of("cast('1970-01-01 03:30:00' as datetime)") }} as moment)
select
    %s
from given
"""
ORDERED = """
with given as (select 2 as n union all select cast(null as bigint) as n union all select -1 as n)
select n, row_number() over (order by n asc nulls last) as up, row_number() over (order by n desc nulls last) as down
from given
"""


@pytest.fixture(scope="module")
def engines(bigquery, tmp_path_factory) -> Engines:
    """A project of these expressions, with the company's macros, built on both."""
    root = tmp_path_factory.mktemp("awkward")
    folder = root / "dbt"
    shutil.copytree(DBT / "macros", folder / "macros")
    shutil.copy(DBT / "profiles.yml", folder)
    (folder / "dbt_project.yml").write_text(
        "name: shop\nprofile: shop\nmodels: {shop: {+schema: marts, +materialized: table}}\n"
    )
    (folder / "models").mkdir()
    columns = ",\n    ".join(f"{sql} as c{n}" for n, sql in enumerate(AWKWARD))
    (folder / "models" / "awkward.sql").write_text(MODEL % columns)
    (folder / "models" / "ordered.sql").write_text(ORDERED)
    cloud = bigquery.settings("EU")
    there = Project(folder, root / "there", target="bigquery", cloud=cloud)
    made = Engines(cloud, Project(folder, root / "here"), there, root / "warehouse.duckdb")
    make_datasets(made, made.candidate)
    for result in (made.build_locally(), made.build_there()):
        assert {u: r.message for u, r in result.results.items() if r.status != "success"} == {}
    return made


def test_both_engines_give_what_googlesql_documents(engines, bigquery):
    with duckdb.connect(str(engines.database)) as connection:
        here = connection.execute("SELECT * FROM marts.awkward").fetchall()[0]
    (there,) = engines.rows_there("marts.awkward", bigquery).to_pylist()
    wrong = {
        sql: (ours, theirs, meant)
        for (sql, meant), ours, theirs in zip(AWKWARD.items(), here, there.values(), strict=True)
        if not (ours == theirs == meant and isinstance(ours, type(theirs)))
    }
    assert wrong == {}


def test_nulls_are_where_the_order_says(engines, bigquery):
    here, there, different = engines.differences("marts.ordered", bigquery)
    assert (here, there, different) == (3, 3, [])


def test_google_s_analyzer_takes_each_macro(engines):
    rendered = json.loads(read_manifest(prepare_manifest(engines.there)).path.with_name(RENDERED).read_text())
    # The toolkit around the analyzer takes places in bytes for places in characters.
    said = analyze({}, {name: told["sql"][0].replace("Łódź", "Lodz") for name, told in rendered.items()})
    assert {name: answer.error for name, answer in said.items()} == dict.fromkeys(said)
    types = said["model.shop.awkward"].columns
    assert set(types.values()) == {"NUMERIC", "INT64", "DATE", "DATETIME", "BOOL", "STRING"}
