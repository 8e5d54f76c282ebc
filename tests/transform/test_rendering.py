"""dbt makes the SQL of a project's models without a database, as it does when it builds them, and their columns are read."""

import json

from caudal.transform.columns.project import COLUMNS, RENDERED
from caudal.transform.columns.stored import Stored
from caudal.transform.project import Project, prepare_manifest

INCREMENTAL = """{{ config(materialized='incremental', unique_key='sale_id') }}
select sale_id, amount from {{ source('pos', 'sales') }}
{% if is_incremental() %} where sale_id > (select max(sale_id) from {{ this }}) {% endif %}"""
ASKING = """select sale_id, {% if execute %}{{ run_query('select 1 as one').columns[0].values()[0] }}{% else %}0{% endif %} as one
from {{ source('pos', 'sales') }}"""
LOOKING = """select {% for column in adapter.get_columns_in_relation(ref('fct_sales')) %}{{ column.name }}, {% endfor %} 1 as one
from {{ ref('fct_sales') }}"""


def of_model(stored: Stored, key: str) -> dict[str, set[str]]:
    return {c.name: {".".join(ref) for ref in c.origins} for c in stored.tables[key].columns.values()}


def test_each_model_has_its_sql_and_what_asks_the_database_is_unknown(stall, tmp_path):
    sales = stall / "models" / "marts" / "sales"
    (sales / "growing.sql").write_text(INCREMENTAL)
    (sales / "asking.sql").write_text(ASKING)
    (sales / "looking.sql").write_text(LOOKING)
    project = Project(stall, tmp_path / "state")
    home = prepare_manifest(project).parent
    rendered = json.loads((home / RENDERED).read_text())
    first, later = rendered["model.stall.growing"]["sql"]
    assert "max(sale_id)" not in first
    assert 'from "warehouse"."marts"."growing"' in later
    asks = "its SQL depends on what the database answers while it is compiled"
    assert rendered["model.stall.asking"] == rendered["model.stall.looking"] == {"unknown": asks}
    assert "model.stall.paid" not in rendered
    assert not list(project.state.glob("*.duckdb"))

    stored = Stored.read(home / COLUMNS)
    fct = of_model(stored, "marts/sales/fct_sales")  # through a macro, and an ephemeral model
    assert fct["cents"] == {"staging/pos/stg_pos__sales.amount"}
    assert stored.tables["marts/sales/fct_sales"].influences == {("staging/pos/stg_pos__sales", "is_paid")}
    assert of_model(stored, "marts/sales/growing") == {"sale_id": {"raw/pos/sales.sale_id"}, "amount": {"raw/pos/sales.amount"}}
    assert of_model(stored, "snapshots/stall/tariff_history")["discount"] == {"seeds/sales/tariffs.discount"}
    assert stored.tables["marts/sales/asking"].unknown == asks

    (sales / "fct_sales.sql").write_text("select sale_id, customer_id, amount, amount as cents from {{ ref('paid') }}")
    again = Stored.read(prepare_manifest(project).with_name(COLUMNS))
    assert again.tables["marts/sales/fct_sales"].fingerprint != stored.tables["marts/sales/fct_sales"].fingerprint
    assert again.tables["marts/sales/growing"] == stored.tables["marts/sales/growing"]


def test_what_is_relied_on_in_dbt_is_there():
    """An upgrade of dbt that changes one of these stops the reading of columns: see `transform.rendering`."""
    from dbt.adapters.base.impl import BaseAdapter
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.factory import FACTORY
    from dbt.compilation import Compiler

    assert isinstance(FACTORY.adapters, dict), "transform.rendering takes dbt's adapter from FACTORY.adapters"
    for name in ("execute", "get_relation", "list_relations", "get_columns_in_relation", "execute_macro"):
        assert hasattr(BaseAdapter, name), f"transform.rendering keeps templates from the database by replacing {name}"
    assert hasattr(DuckDBConnectionManager, "get_thread_connection"), "transform.rendering replaces get_thread_connection"
    assert "write" in Compiler.compile_node.__annotations__, "transform.rendering calls Compiler.compile_node(..., write=False)"
