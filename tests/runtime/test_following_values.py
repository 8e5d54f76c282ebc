"""Where values come from and who sees them: `caudal lineage` and `caudal trace` on a small company that was really built, and a
personal value of it that is found nowhere in what a viewer can read."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from caudal.cli import app
from caudal.environment import Environment
from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse.published import read_arrow
from caudal.warehouse.versions import kept

#: A person's name, and what of it must not be seen.
BUYER, NEEDLE = "Nadel Heuhaufen", "nadel"

FILES = {
    "__init__.py": "",
    "defs/__init__.py": "",
    "definitions.py": """
import dagster as dg
from caudal.runtime.location import code_location

@dg.definitions
def defs() -> dg.Definitions:
    return code_location("kiosk")
""",
    "defs/sales/defs.yaml": """
type: caudal.lake.component.Datasets
attributes:
  source: till
  datasets:
    - {name: sales, format: csv, contract: sales.odcs.yaml, path: "*.csv"}
---
type: caudal.transform.component.DbtProject
attributes: {project: kiosk/dbt}
---
type: caudal.explore.component.Profiles
attributes: {stage: marts}
""",
    "defs/sales/sales.odcs.yaml": """
apiVersion: v3.1.0
kind: DataContract
id: till.sales
version: 1.0.0
status: active
schema:
  - name: sales
    properties:
      - {name: sale, logicalType: integer, required: true}
      - {name: item, logicalType: string}
      - {name: buyer, logicalType: string, classification: personal, logicalTypeOptions: {maxLength: 20}}
      - {name: amount, logicalType: number, physicalType: "DECIMAL(10,2)"}
      - {name: day, logicalType: date}
    quality:
      - {name: not_free, type: custom, engine: caudal, severity: warn, implementation: {sql: "select * from sales where amount = 0"}}
""",
    "defs/loyal/loyal.py": """
import dagster as dg
import pyarrow as pa

from caudal.contracts.masking import Names
from caudal.environment import Environment
from caudal.warehouse.audited import audit_specs, publish_audited
from caudal.warehouse.audits import holds
from caudal.warehouse.published import read_arrow

KEY = dg.AssetKey(["explore", "sales", "loyal"])
ENV = Environment.current("kiosk")
AUDITS = [holds("explore.loyal", "came_often", "n > 9")]
MADE_OF = dg.TableColumnLineage({"who": [dg.TableColumnDep(dg.AssetKey(["marts", "sales", "buyers"]), "who")]})


@dg.multi_asset(
    name="loyal",
    specs=[dg.AssetSpec(KEY, deps=[["marts", "sales", "buyers"]], metadata={"dagster/column_lineage": MADE_OF})],
    check_specs=audit_specs(KEY, AUDITS),
)
def loyal(context: dg.AssetExecutionContext):
    rows = read_arrow(ENV, "SELECT who, n FROM marts.buyers")
    yield from publish_audited(context, ENV, KEY, {"explore.loyal": rows}, AUDITS, lambda: Names(["who"]))
    yield dg.MaterializeResult(asset_key=KEY)
""",
    "dbt/dbt_project.yml": """
name: kiosk
version: "1.0"
profile: kiosk
flags: {send_anonymous_usage_stats: false}
models:
  kiosk:
    staging: {+materialized: view, +schema: staging}
    marts: {+materialized: table, +schema: marts}
""",
    "dbt/profiles.yml": """
kiosk:
  target: local
  outputs:
    local:
      type: duckdb
      path: "{{ env_var('CAUDAL_DUCKDB_PATH', ':memory:') }}"
      threads: 1
      config_options: {extension_directory: "{{ env_var('CAUDAL_DUCKDB_EXTENSIONS', '') }}"}
""",
    "dbt/macros/generate_schema_name.sql": "{% macro generate_schema_name(name, node) %}{{ name or target.schema }}{% endmacro %}",
    "dbt/models/sources.yml": """
sources:
  - name: till
    schema: raw
    config: {meta: {contract: till.sales 1.0.0}}
    tables:
      - name: sales
        identifier: till__sales
        columns: [{name: sale}, {name: item}, {name: buyer}, {name: amount}, {name: day}, {name: _file}, {name: _version}, {name: _row}]
""",
    "dbt/models/staging/till/stg_till__sales.sql": "select sale, item, buyer, amount, day from {{ source('till', 'sales') }}",
    "dbt/models/marts/sales/by_day.sql": """
select day, item, sum(amount) as amount, count(*) as lines, day = max(day) over () as is_last
from {{ ref('stg_till__sales') }} group by day, item""",
    "dbt/models/marts/sales/buyers.sql": """
select buyer as who, upper(buyer) as loud, count(*) as n from {{ ref('stg_till__sales') }} group by buyer""",
    "dbt/models/marts/sales/grown.sql": """
{{ config(materialized='incremental') }}
select sale, item, amount from {{ ref('stg_till__sales') }} {% if is_incremental() %}where sale > 9{% endif %}""",
    "dbt/models/marts/sales/asked.sql": "select {% if execute %}{{ run_query('select 1').rows[0][0] }}{% endif %} as x",
    "dbt/models/marts/sales/_models.yml": """
models:
  - name: buyers
    columns:
      - name: who
        data_tests:
          - accepted_values: {arguments: {values: [Bo]}, config: {severity: warn}}
      - {name: loud, data_type: varchar}
""",
}  # fmt: skip

SALES = """sale,item,buyer,amount,day
1,tea,{buyer},5.00,2024-01-01
2,ink,Bo,0.00,2024-01-01
3,tea,{buyer},{amount},2024-01-02
4,jam,{buyer} and all of the family,1.00,2024-01-02
"""


def write(env: Environment, name: str, text: str) -> None:
    path = env.lake / "till/sales" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refresh(env: Environment, definitions: dg.Definitions, instance: dg.DagsterInstance, stages: tuple[str, ...] = ()) -> None:
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree

    look(env, Ledger(env.state / "ledger.db"), declared_datasets(component_tree(env)))
    job = definitions.resolve_implicit_global_asset_job_def()
    every = [spec.key for spec in definitions.resolve_all_asset_specs()]
    keys = [
        key
        for key in every
        if key.path[0] in (stages or ("lake", "raw", "quarantine", "staging", "marts", "explore", "profile"))
    ]
    job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory):
    """The environment, its definitions and an instance; nothing is published yet."""
    root = tmp_path_factory.mktemp("kiosk")
    for name, text in FILES.items():
        path = root / "kiosk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CAUDAL_ROOT": root, "CAUDAL_DATA": root / "data", "CAUDAL_COMPANY": "kiosk"}.items():
            patch.setenv(name, str(value))
        patch.syspath_prepend(str(root))
        from caudal.runtime.location import load_definitions

        with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
            yield Environment.current("kiosk"), load_definitions("kiosk"), instance
    for name in [n for n in sys.modules if n.partition(".")[0] == "kiosk"]:
        del sys.modules[name]


def call(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def before(kiosk) -> tuple[int, str]:
    """What `caudal trace` says while nothing is published."""
    return call("trace", "by_day", "--where", "true")


@pytest.fixture(scope="module")
def built(kiosk, before):
    """Everything was built twice, of a file that changed."""
    env, definitions, instance = kiosk
    write(env, "a.csv", SALES.format(buyer=BUYER, amount="7.00"))
    write(env, "b.csv", "sale,item,buyer,amount,day\n9,tea,Bo,2.00,2024-01-01\n")
    refresh(env, definitions, instance)
    write(env, "a.csv", SALES.format(buyer=BUYER + "s", amount="8.00"))
    refresh(env, definitions, instance, ("lake", "raw", "quarantine", "staging", "marts"))
    assert read_arrow(env, "SELECT count(*) AS n FROM marts.by_day").to_pydict() == {"n": [3]}
    return env, instance


def test_before_anything_is_published_a_row_cannot_be_followed_and_a_column_can(before):
    assert before[0] == 2
    assert "Nothing is published" in before[1]
    assert call("lineage", "by_day.amount")[0] == 0


def test_a_row_of_a_mart_is_followed_through_a_view_to_its_lake_rows(built):
    status, told = call("trace", "by_day", "--where", "day = '2024-01-01' and item = 'tea'", "--format", "json")
    found = json.loads(told)
    assert (status, found["rows"], found["is_exact"]) == (0, 1, True)
    assert {Path(f["file"]).name: (f["dataset"], f["rows"], f["numbers"]) for f in found["files"]} == {
        "a.csv": ("till/sales", 1, [2]),
        "b.csv": ("till/sales", 1, [2]),
    }
    assert "1 row" in call("trace", "marts/sales/by_day", "-w", "item = 'ink'")[1]
    assert call("trace", "stg_till__sales", "-w", "sale = 3", "-f", "json")[0] == 0
    assert json.loads(call("trace", "by_day", "-w", "is_last", "-f", "json")[1])["files"][0]["numbers"] == [4]


def test_rows_of_an_incremental_model_have_an_upper_bound_which_says_so(built):
    found = json.loads(call("trace", "grown", "-w", "sale = 9", "-f", "json")[1])
    assert (found["is_exact"], {Path(f["file"]).name for f in found["files"]}) == (False, {"a.csv", "b.csv"})
    assert found["notes"][0].startswith("upper bound: marts/sales/grown")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("trace", "by_days", "-w", "true"), "no model is called `by_days`; did you mean"),
        (("trace", "by_day", "-w", "weight = 1"), "no condition on the table's rows"),
        (("trace", "explore/sales/loyal", "-w", "true"), "no model is called `explore/sales/loyal`"),
        (("lineage", "by_days.amount"), "there is no asset `by_days`"),
        (("lineage", "by_day.weight"), "`marts/sales/by_day` has no column `weight`"),
        (("lineage", "by_day"), "say which column of `marts/sales/by_day`: `day`, `item`, `amount`"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(built, arguments, why):
    status, told = call(*arguments)
    assert status == 2
    assert why in told


def test_rows_that_are_not_there_come_from_no_file(built):
    status, told = call("trace", "by_day", "-w", "item = 'coal'")
    assert status == 0
    assert "0 rows\n  made of no file" in told


def test_a_column_is_followed_up_to_the_lake_and_down_to_what_python_declares(built):
    up = json.loads(call("lineage", "loyal.who", "--format", "json")[1])
    assert [(e["from"]["asset"], e["from"]["column"], e["kind"]) for e in up["edges"]] == [
        ("marts/sales/buyers", "who", "computed"),
        ("staging/till/stg_till__sales", "buyer", "copied"),
        ("raw/till/sales", "buyer", "copied"),
        ("lake/till/sales", "buyer", "copied"),
    ]
    down = call("lineage", "raw/till/sales.amount", "--down")[1]
    assert "-> f marts/sales/by_day.amount" in down
    assert "-> = marts/sales/grown.amount" in down
    assert "flowchart LR" in call("lineage", "by_day.amount", "--format", "mermaid")[1]
    assert "its SQL depends on what the database answers" in call("lineage", "asked.x")[1]


def test_a_persons_name_is_in_nothing_that_a_viewer_can_read(built):
    env, instance = built
    events = [e.dagster_event for run in instance.get_runs() for e in instance.all_logs(run.run_id) if e.dagster_event]
    checks = [e.event_specific_data for e in events if e.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    failed = {check.check_name for check in checks if not check.passed}
    assert {"not_free", "came_often", "accepted_values_buyers_who__Bo"} <= failed, failed
    seen = {f"run {run.run_id}": "\n".join(map(str, instance.all_logs(run.run_id))) for run in instance.get_runs()}
    seen |= {str(path): path.read_text(errors="ignore") for path in env.reports.rglob("*") if path.is_file()}
    seen |= {str(path): path.read_text(errors="ignore") for path in env.state.rglob("*.json")}
    versions = [version.name for version in kept(env)]
    for output in ("text", "json", "markdown"):
        status, seen[f"diff {output}"] = call("diff", "marts.buyers", versions[0], "-n", "50", "--format", output)
        assert status == 1
    seen["trace"] = call("trace", "buyers", "-w", "true")[1]
    assert call("catalogue", "--into", str(env.data / "site"))[0] == 0
    seen |= {str(path): path.read_text(errors="ignore") for path in (env.data / "site").rglob("*") if path.is_file()}
    assert "xxxxx" in seen["diff text"]
    assert [where for where, text in seen.items() if NEEDLE in text.casefold()] == []


def test_who_may_read_the_warehouse_sees_the_name_when_asking_for_it(built):
    first = kept(built[0])[0].name
    assert BUYER in call("diff", "marts.buyers", first, "--unmasked", "-n", "50")[1]
