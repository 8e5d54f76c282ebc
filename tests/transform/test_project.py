"""The manifest is made once for each change of a project, by a process of dbt's own, and never in the project's folder."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from caudal.transform import project as module
from caudal.transform.manifest import read_manifest
from caudal.transform.project import Project, ProjectError, prepare_manifest, ship_manifest


@pytest.fixture
def project(stall, tmp_path) -> Project:
    return Project(stall, tmp_path / "state")


@pytest.fixture
def parses(monkeypatch) -> list[str]:
    """What dbt was started for, one entry a start. It writes a manifest at once, in the place of dbt."""
    starts: list[str] = []

    def parse(project, arguments, target):
        starts.append(arguments)
        (target / "manifest.json").write_text("{}")
        return 0, ""

    monkeypatch.setattr(module, "_run_dbt", parse)
    return starts


def tree(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_dbt_writes_nothing_into_the_project_and_needs_no_database(unchanged):
    before = tree(unchanged.folder)
    manifest = prepare_manifest(unchanged)
    assert json.loads(manifest.read_text())["metadata"]["project_name"] == "stall"
    assert manifest.is_relative_to(unchanged.state)
    assert manifest.with_name("partial_parse.msgpack").is_file()
    assert tree(unchanged.folder) == before
    assert not list(unchanged.state.rglob("*.duckdb"))


def test_an_unchanged_project_is_not_parsed_again(project, parses):
    assert prepare_manifest(project) == prepare_manifest(replace(project))
    assert len(parses) == 1


@pytest.mark.parametrize(
    "changed",
    ["models/marts/sales/sales.sql", "models/marts.yml", "macros/cents.sql", "seeds/sales/tariffs.csv", "tests/nothing_is_lost.sql",
     "dbt_project.yml", "profiles.yml"],
)  # fmt: skip
def test_every_file_of_the_project_counts(project, parses, changed):
    before = prepare_manifest(project)
    with (project.folder / changed).open("a") as file:
        file.write("\n")
    assert prepare_manifest(project) != before
    assert len(parses) == 2


def test_what_dbt_itself_leaves_in_a_project_does_not_count(project, parses):
    before = prepare_manifest(project)
    for name in ("target/manifest.json", "logs/dbt.log", ".user.yml", "models/.swp"):
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text("x")
    assert prepare_manifest(project) == before


def test_variables_target_catalogue_and_versions_count(project, parses, monkeypatch):
    found = {prepare_manifest(project)}
    found.add(prepare_manifest(replace(project, variables={"year": 2017})))
    found.add(prepare_manifest(replace(project, target="other")))
    found.add(prepare_manifest(replace(project, catalog="other")))
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "99")
    found.add(prepare_manifest(project))
    assert len(found) == 5


def test_an_environment_variable_that_the_project_reads_counts(project, parses, monkeypatch):
    (project.folder / "models/marts/sales/sales.sql").write_text("select '{{ env_var('STALL_NAME', 'none') }}' as name")
    before = prepare_manifest(project)
    monkeypatch.setenv("STALL_NAME", "north")
    assert prepare_manifest(project) != before
    monkeypatch.setenv("ANOTHER_NAME", "south")
    assert len(parses) == 2


def test_of_many_that_ask_at_once_one_parses(project, parses):
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: prepare_manifest(replace(project)), range(8)))
    assert len(found) == len(parses) == 1


def test_of_four_processes_that_ask_for_a_changed_project_one_parses(project):
    first = prepare_manifest(project)
    (project.folder / "models/marts/sales/sales.sql").write_text("select 1 as changed")
    program = (
        "import sys; from pathlib import Path\n"
        "from caudal.transform import project as module\n"
        "parse = module._parse\n"
        "module._parse = lambda *given: (print('parsed', file=sys.stderr), parse(*given))\n"
        f"print(module.prepare_manifest(module.Project(Path({str(project.folder)!r}), Path({str(project.state)!r}))))\n"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racing = [subprocess.Popen([sys.executable, "-c", program], **streams) for _ in range(4)]
    try:
        told = [process.communicate(timeout=60) for process in racing]
    finally:
        for process in racing:
            process.kill()
    (path,) = {out for out, _ in told}
    assert path.strip() != str(first)
    assert sum(err.count("parsed\n") for _, err in told) == 1, told


def test_only_changed_files_are_read_again_and_the_manifest_is_that_of_a_whole_parse(project, tmp_path):
    prepare_manifest(project)
    (project.folder / "models/marts/sales/sales.sql").write_text("select count(*) as n from {{ ref('fct_sales') }}")
    (project.folder / "macros/cents.sql").write_text("{% macro cents(column) %}{{ column }} * 1000{% endmacro %}")
    (project.folder / "models/marts/sales/new.sql").write_text("select * from {{ ref('sales') }}")
    (project.folder / "tests/one_is_one.sql").unlink()
    again = prepare_manifest(project)
    whole = prepare_manifest(replace(project, state=tmp_path / "another"))
    assert again.name == whole.name
    assert read_manifest(again) == replace(read_manifest(whole), path=again)


def test_a_change_that_is_nothing_to_dbt_leaves_a_manifest_as_whole_as_the_one_before(project):
    before = prepare_manifest(project)
    (project.folder / "notes.txt").write_text("to whom it may concern")
    after = prepare_manifest(project)
    assert after != before
    assert sorted(p.name for p in after.parent.iterdir() if p.is_file()) == sorted(
        p.name for p in before.parent.iterdir() if p.is_file()
    )


def test_a_manifest_that_was_shipped_is_not_made_again_unless_the_project_has_changed(project, parses, tmp_path):
    shipped = ship_manifest(project, tmp_path / "shipped")
    running = replace(project, shipped=tmp_path / "shipped")
    assert prepare_manifest(running) == shipped
    assert len(parses) == 1
    assert not project.state.exists()
    (project.folder / "models/marts.yml").write_text("models: []")
    assert prepare_manifest(running).is_relative_to(project.state)
    assert len(parses) == 2


def test_a_project_that_changes_while_it_is_parsed_is_parsed_again(project, parses, monkeypatch):
    parse = module._run_dbt

    def edit_then_parse(*given):
        if not parses:
            (project.folder / "macros/cents.sql").write_text("{% macro cents(column) %}{{ column }}{% endmacro %}")
        return parse(*given)

    monkeypatch.setattr(module, "_run_dbt", edit_then_parse)
    manifest = prepare_manifest(project)
    assert len(parses) == 2
    assert manifest == prepare_manifest(project)
    assert [p.name for p in manifest.parent.parent.iterdir()] == [manifest.parent.name]


def test_a_project_that_never_rests_is_given_up_with_advice(project, parses, monkeypatch):
    parse = module._run_dbt

    def edit_and_parse(*given):
        (project.folder / "macros/cents.sql").write_text(str(len(parses)))
        return parse(*given)

    monkeypatch.setattr(module, "_run_dbt", edit_and_parse)
    with pytest.raises(ProjectError, match="changes faster than dbt can read it"):
        prepare_manifest(project)


def test_old_manifests_and_what_killed_processes_left_are_removed(project, parses):
    left_behind = project.state / "manifests" / ".key.1234.tmp"
    left_behind.mkdir(parents=True)
    for year in range(8):
        newest = prepare_manifest(replace(project, variables={"year": year}))
    assert newest.is_file()
    assert not left_behind.exists()
    assert len(list((project.state / "manifests").iterdir())) == 5


def test_a_folder_without_a_project_is_refused(tmp_path):
    with pytest.raises(ProjectError, match=r"has no dbt_project\.yml"):
        prepare_manifest(Project(tmp_path, tmp_path / "state"))


def test_a_broken_project_is_refused_in_dbts_words_with_file_and_line(project):
    (project.folder / "models/marts/sales/sales.sql").write_text("select 1\nfrom {{ ref('nowhere' }}\n")
    with pytest.raises(ProjectError) as refused:
        prepare_manifest(project)
    message = str(refused.value)
    assert str(project.folder) in message
    assert "Compilation Error in model sales (models/marts/sales/sales.sql)" in message
    assert "line 2" in message
    assert "from {{ ref('nowhere' }}" in message
    assert not list((project.state / "manifests").iterdir())


def test_the_platform_reads_a_manifest_without_importing_dbt_duckdb_or_dagster_dbt(unchanged):
    manifest = prepare_manifest(unchanged)
    program = (
        "import sys; from pathlib import Path\n"
        "import caudal.transform.component, caudal.transform.sources\n"
        "from caudal.transform.manifest import read_manifest\n"
        f"assert len(read_manifest(Path({str(manifest)!r})).nodes) == 7\n"
        "heavy = {'dbt', 'dagster_dbt', 'duckdb', 'pandas', 'pyarrow', 'deltalake'} & {m.partition('.')[0] for m in sys.modules}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
