"""The reference company's definitions: they load from nothing, lightly, and say all that a person wants to know."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from caudal.environment import Environment
from caudal.runtime.generate import generate
from caudal.runtime.location import load_definitions

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).with_name("asset_graph.txt")

#: All that loading definitions may import besides the standard library. A heavy library costs a code server and every run 0.1 to
#: 3 s; whatever comes to stand here, look at what it costs.
IMPORTED = {
    *("caudal", "shop", "dagster", "dagster_pipes", "dagster_shared"),
    *("alembic", "mako", "sqlalchemy", "click", "coloredlogs", "humanfriendly", "colorama", "structlog", "rich", "pygments"),
    *("annotated_types", "attr", "docstring_parser", "jinja2", "markupsafe", "packaging", "pydantic", "pydantic_core"),
    *(
        "pytz",
        "six",
        "toposort",
        "tqdm",
        "typing_extensions",
        "typing_inspection",
        "yaml",
        "filelock",
        "watchdog",
        "cython_runtime",
    ),
}

LOAD = """
import json, socket, sys
at_start = set(sys.modules)  # google-cloud-aiplatform has every interpreter make the packages `google` and `google.cloud`
def refuse(*a, **k): raise OSError("definitions opened a connection")
socket.socket.connect = socket.create_connection = refuse
from caudal.runtime.location import load_definitions
defs = load_definitions("shop")
packages = {name.partition(".")[0] for name in set(sys.modules) - at_start} - sys.stdlib_module_names
print(json.dumps({"assets": len(defs.resolve_all_asset_specs()), "packages": sorted(packages)}))
"""


@pytest.fixture(scope="module")
def defs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUDAL_DATA", str(tmp_path_factory.mktemp("data")))
        yield load_definitions("shop")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What a fresh interpreter says that loads the definitions twice, the second time with dbt's manifest at hand."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home")), "CAUDAL_ROOT": str(ROOT)}
    env["CAUDAL_DATA"] = str(tmp_path_factory.mktemp("data"))
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_they_load_with_no_network_no_secret_and_no_server(loaded):
    assert loaded["assets"] > 40


def test_they_import_what_is_listed_and_nothing_else(loaded):
    assert {name for name in loaded["packages"] if not name.startswith("_")} - IMPORTED == set()


def test_the_asset_graph_is_the_one_in_the_snapshot(defs):
    """`CAUDAL_UPDATE_SNAPSHOTS=1` writes it anew; the difference is for a person to read."""
    graph = defs.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys(), key=lambda k: k.path):
        node = graph.get(key)
        parents = ", ".join(sorted(p.to_user_string() for p in node.parent_keys))
        lines.append(f"{key.to_user_string()} [{node.group_name}]" + (f" <- {parents}" if parents else ""))
        lines += sorted(f"    check {c.name}" for c in node.check_keys)
    text = "\n".join(lines) + "\n"
    if os.environ.get("CAUDAL_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_belongs(defs):
    silent = {
        spec.key.to_user_string(): [
            name for name in ("description", "group_name", "kinds", "owners", "tags") if not getattr(spec, name)
        ]
        for spec in defs.resolve_all_asset_specs()
    }
    assert {k: v for k, v in silent.items() if v} == {}


def test_every_table_declares_its_columns_with_descriptions(defs):
    bare = []
    for spec in defs.resolve_all_asset_specs():
        if spec.key.path[0] not in ("raw", "staging", "marts"):
            continue
        schema = spec.metadata.get("dagster/column_schema")
        schema = getattr(schema, "schema", schema)
        if not isinstance(schema, dg.TableSchema) or not schema.columns or any(not c.description for c in schema.columns):
            bare.append(spec.key.to_user_string())
    assert bare == []


def test_lineage_is_unbroken_from_the_lake_file_to_the_served_prediction(defs):
    graph = defs.resolve_asset_graph()
    above, frontier = set(), [dg.AssetKey(["online", "sales", "store"])]
    online = [k for k in graph.get_all_asset_keys() if k.path[0] == "online"]
    frontier = list(online)
    while frontier:
        for parent in graph.get(frontier.pop()).parent_keys - above:
            above.add(parent)
            frontier.append(parent)
    stages = {k.path[0] for k in above}
    assert {"lake", "raw", "staging", "marts", "predictions"} <= stages
    assert dg.AssetKey(["lake", "pos", "transactions"]) in above


def test_what_is_generated_from_the_contracts_is_not_stale(defs):
    assert generate(Environment.current("shop"), check=True) == []
