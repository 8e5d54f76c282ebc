"""Tests of the GoogleSQL analyzer that other tests of BigQuery's SQL rely on: an upgrade that changes it is seen here."""

import pytest

from tests.services.googlesql import analyze

TABLES = {
    "caudal-tests.shop.orders": {
        "id": "INT64",
        "day": "DATE",
        "placed_at": "TIMESTAMP",
        "amount": "NUMERIC",
        "lines": "ARRAY<STRUCT<item STRING, units INT64>>",
        "more": "JSON",
    },
    "elsewhere.shop.people": {"id": "INT64", "name": "STRING"},
}

RIGHT = {
    "types": """
        select id, sum(amount) as total, array_agg(day order by day limit 1)[offset(0)] as first_day,
            any_value(more.note) as note, countif(amount > 1) / count(*) as share
        from `caudal-tests.shop.orders` group by id
    """,
    "nested": "select line.item, line.units from shop.orders, unnest(lines) as line",
    "another project": "select name from `elsewhere`.`shop`.`people`",
    "functions": "select date_diff(day, day, month) m, farm_fingerprint('a') f, safe_divide(1, 2) d, max_by(id, day) i"
    " from shop.orders group by day",
    "qualify": "select id from shop.orders qualify row_number() over (partition by id order by placed_at desc) = 1",
    "pipes": "from shop.orders |> aggregate count(*) as n group by id",
    "parameter": "select id from shop.orders where day = @day",
    "table": "create or replace table shop.days partition by day cluster by n options (require_partition_filter = true) as"
    " select day, count(*) as n from shop.orders group by day; select n from shop.days",
    "view": "create view shop.ids as select id from shop.orders",
    "script": "declare n int64 default 4; begin transaction; delete from shop.orders where id = n;"
    " insert into shop.orders (id) values (n); update shop.orders set id = 1 where true;"
    " merge shop.orders t using (select 1 as id) s on t.id = s.id when matched then delete; commit transaction;",
    "snapshot": "create snapshot table shop.before clone shop.orders",
    "policy": "create row access policy mine on shop.orders grant to ('user:a@example.com') filter using (id = 1)",
}

WRONG = {
    "duckdb's date_diff": ("select id,\n  date_diff('day', day, day) from shop.orders", 'literal "day" to type DATE', 2, 13),
    "a column that is not there": ("select nope from shop.orders", "Unrecognized name: nope", 1, 8),
    "a table that is not there": ("select 1 from shop.nope", "Table not found", 1, 15),
    "a table that is not there, after others": ("select 1 from shop.orders, shop.nope", "Table not found", 1, 28),
    "duckdb's cast": ("select id::string from shop.orders", 'got ":"', 1, 10),
    "types that do not go together": ("select id + day from shop.orders where id = 'a'", "INT64", 1, 40),
    "a function that is not there": ("select list_sum([1])", "Function not found: list_sum", 1, 8),
    "a wrong column in the second statement": ("select 1;\ndelete from shop.orders where nope = 1", "nope", 2, 31),
}


@pytest.fixture(scope="module")
def said():
    return analyze(TABLES, RIGHT | {name: sql for name, (sql, *_) in WRONG.items()})


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_statement_is_taken(said, name):
    assert said[name].error is None, str(said[name])


def test_the_columns_of_a_result_have_their_types(said):
    assert said["types"].columns == {
        "id": "INT64",
        "total": "NUMERIC",
        "first_day": "DATE",
        "note": "JSON",
        "share": "FLOAT64",
    }
    assert said["nested"].columns == {"item": "STRING", "units": "INT64"}
    assert said["table"].columns == {"n": "INT64"}
    assert said["view"].columns == {"id": "INT64"}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_statement_is_refused_with_its_line_and_column(said, name):
    _, words, line, column = WRONG[name]
    assert words in str(said[name].error)
    assert (said[name].line, said[name].column) == (line, column)
