"""What a process does once from which dbt processes will be forked: all that they would otherwise each do for themselves.

That process imports dbt, reads the manifests of the projects that it has prepared, and rehearses: it has dbt list the
project's nodes, which touches no database, and by it builds dbt's schemas, serializers and templates. It is left as it was:
no connection, no thread, no adapter, no child process. So each fork starts from the same state, whatever was built before.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caudal.transform import dbt_child, dbt_speed
from caudal.transform.project import SERIALIZED, Project, prepared

_LOGGER = logging.getLogger(__name__)

#: What a build imports, dbt's plugins for them included.
MODULES = (
    "agate",
    "babel.dates",
    "dbt.adapters.duckdb.environments.local",
    "dbt.adapters.duckdb.impl",
    "dbt.adapters.factory",
    "dbt.cli.main",
    "dbt.compilation",
    "dbt.parser.manifest",
    "dbt.task.build",
    "dbt.task.list",
    "dbt_common.clients.agate_helper",
    "duckdb",
    "isodate",
    "parsedatetime",
    "pytz",
    "sqlparse",
)
#: What a build on BigQuery imports besides.
BIGQUERY_MODULES = ("dbt.adapters.bigquery.impl", "google.cloud.bigquery")
#: Macros that dbt calls for every project, besides those that a project's own nodes lead to.
_ALWAYS_CALLED = ("create_schema", "drop_relation", "get_columns_in_relation", "list_schemas", "rename_relation")
_ALWAYS_CALLED += ("list_relations_without_caching", "get_test_sql", "get_create_sql")


def preload() -> None:
    """Make this process ready to be forked from. A project that cannot be rehearsed is told in the log, and is built anyhow."""
    dbt_speed.before_import()
    on_bigquery = any(project.cloud is not None for project, _ in prepared())
    for name in (*MODULES, *(BIGQUERY_MODULES if on_bigquery else ())):
        importlib.import_module(name)
    dbt_speed.drop_unheard_events()
    dbt_speed.look_for_plugins_once()
    _compile_lexer()
    for project, manifest in prepared():
        serialized = str(manifest.with_name(SERIALIZED))
        if serialized in dbt_child.PRELOADED or not os.path.isfile(serialized):
            continue
        found = dbt_child.read_serialized(serialized)
        try:
            _rehearse(project, found)
            _compile_macros(found)
        except Exception:  # dbt will say what is wrong when it is asked to build
            _LOGGER.warning("The project in %s could not be rehearsed; dbt takes longer for it", project.folder, exc_info=True)
            continue
        dbt_child.PRELOADED[serialized] = found


def _compile_lexer() -> None:
    from sqlparse.lexer import Lexer

    Lexer.get_default_instance()


def _rehearse(project: Project, manifest: Any) -> None:
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner
    from dbt_common.events.event_manager_client import cleanup_event_logger
    from dbt_common.events.functions import reset_metadata_vars

    with tempfile.TemporaryDirectory(prefix="caudal-rehearsal-") as nowhere:
        arguments = [
            *("--quiet", "--log-level", "none", "--log-level-file", "none", "--log-path", nowhere, "--no-write-json"),
            *("--no-partial-parse", "list", "--target-path", nowhere, *project.flags()),
        ]
        database = Path(nowhere) / f"{project.catalog}.duckdb"
        try:
            with _environment(project.process_environment(database)):
                outcome = dbtRunner(manifest=manifest).invoke(arguments)
        finally:
            reset_adapters()
            cleanup_event_logger()
            reset_metadata_vars()
    if not outcome.success:
        raise RuntimeError(str(outcome.exception))


def _compile_macros(manifest: Any) -> None:
    """Those that the project's nodes and their materializations may call."""
    from dbt_common.clients.jinja import template_cache

    kinds = {node.config.materialized for node in manifest.nodes.values()}
    pending = [macro for node in manifest.nodes.values() for macro in node.depends_on.macros]
    pending += [f"macro.dbt.{name}" for name in _ALWAYS_CALLED]
    pending += [u for u, macro in manifest.macros.items() if any(macro.name.startswith(f"materialization_{k}_") for k in kinds)]
    reached: set[str] = set()
    while pending:
        unique_id = pending.pop()
        if unique_id in manifest.macros and unique_id not in reached:
            reached.add(unique_id)
            pending += manifest.macros[unique_id].depends_on.macros
            template_cache.get_node_template(manifest.macros[unique_id])


@contextmanager
def _environment(variables: dict[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
