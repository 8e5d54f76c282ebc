"""The three roles, and which of them each way of changing something needs. What is not in a table needs `admin`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from caudal.warehouse.bigquery.budgets import BUDGET_BY_TAG, BUDGET_TAG


class Role(StrEnum):
    """What a person may do. Each role may do all that the one before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def covers(self, needed: Role) -> bool:
        """Whether who has this role may do what needs `needed`."""
        return self.rank >= needed.rank


_VIEWER, _EDITOR, _ADMIN = Role.VIEWER, Role.EDITOR, Role.ADMIN

#: Every mutation of Dagster's GraphQL schema. A test fails when the schema has one that is not named here.
MUTATIONS: Mapping[str, Role] = {
    # Runs
    "launchRun": _EDITOR,
    "launchPipelineExecution": _EDITOR,
    "launchMultipleRuns": _EDITOR,
    "launchRunReexecution": _EDITOR,
    "launchPipelineReexecution": _EDITOR,
    "terminateRun": _EDITOR,
    "terminateRuns": _EDITOR,
    "terminatePipelineExecution": _EDITOR,
    "deleteRun": _ADMIN,
    "deletePipelineRun": _ADMIN,
    # Backfills
    "launchPartitionBackfill": _EDITOR,
    "reexecutePartitionBackfill": _EDITOR,
    "resumePartitionBackfill": _EDITOR,
    "cancelPartitionBackfill": _EDITOR,
    # Schedules, sensors, automation. A dry run executes the code of the schedule or sensor.
    "startSchedule": _EDITOR,
    "stopRunningSchedule": _EDITOR,
    "resetSchedule": _EDITOR,
    "scheduleDryRun": _EDITOR,
    "startSensor": _EDITOR,
    "stopSensor": _EDITOR,
    "resetSensor": _EDITOR,
    "sensorDryRun": _EDITOR,
    "setSensorCursor": _ADMIN,  # a wrong cursor skips data, or asks for it twice
    "setAutoMaterializePaused": _ADMIN,  # of every asset at once
    # Assets
    "reportRunlessAssetEvents": _EDITOR,
    "reportAssetCheckEvaluations": _EDITOR,
    "addDynamicPartition": _EDITOR,
    "deleteDynamicPartitions": _ADMIN,  # may wipe their materializations
    "wipeAssets": _ADMIN,
    # Code locations
    "reloadRepositoryLocation": _EDITOR,
    "reloadWorkspace": _EDITOR,
    "refreshComponentState": _EDITOR,
    "shutdownRepositoryLocation": _ADMIN,
    "setAppManagedComponent": _ADMIN,
    "deleteAppManagedComponent": _ADMIN,
    # Concurrency
    "setConcurrencyLimit": _ADMIN,
    "deleteConcurrencyLimit": _ADMIN,
    "freeConcurrencySlots": _ADMIN,
    "freeConcurrencySlotsForRun": _ADMIN,
    # What the UI remembers on the server's disk
    "setNuxSeen": _EDITOR,
    "logTelemetry": _EDITOR,
}

#: The routes, other than `/graphql`, that take a POST. A test fails when the webserver has another.
REPORTS: Mapping[str, Role] = {
    "report_asset_materialization": _EDITOR,
    "report_asset_check": _EDITOR,
    "report_asset_observation": _EDITOR,
}

#: Dagster's own permissions, by which the UI greys what may not be done.
PERMISSIONS: Mapping[str, Role] = {
    "launch_pipeline_execution": _EDITOR,
    "launch_pipeline_reexecution": _EDITOR,
    "start_schedule": _EDITOR,
    "stop_running_schedule": _EDITOR,
    "schedule_dry_run": _EDITOR,
    "edit_sensor": _EDITOR,
    "sensor_dry_run": _EDITOR,
    "update_sensor_cursor": _ADMIN,
    "terminate_pipeline_execution": _EDITOR,
    "delete_pipeline_run": _ADMIN,
    "reload_repository_location": _EDITOR,
    "reload_workspace": _EDITOR,
    "wipe_assets": _ADMIN,
    "report_runless_asset_events": _EDITOR,
    "launch_partition_backfill": _EDITOR,
    "cancel_partition_backfill": _EDITOR,
    "edit_dynamic_partitions": _EDITOR,
    "toggle_auto_materialize": _ADMIN,
    "edit_concurrency_limit": _ADMIN,
    "edit_app_managed_components": _ADMIN,
    "refresh_component_state": _EDITOR,
}

#: Tags of a run that say on what machine, in what image and under whose account it is executed. With them, who may start
#: the code that is there could start any code.
PLACEMENT_TAGS = ("dagster-k8s/", "dagster-celery", "ecs/", ".dagster/image", "docker/")

#: Tags of a run by which it spends more than a budget allows.
BUDGET_TAGS = (BUDGET_TAG, BUDGET_BY_TAG)


def needed_for_mutation(name: str) -> Role:
    """The role that the mutation needs: `admin` if nobody decided."""
    return MUTATIONS.get(name, Role.ADMIN)


def needed_for_permission(name: str) -> Role:
    """The role that Dagster's permission needs: `admin` if nobody decided."""
    return PERMISSIONS.get(name, Role.ADMIN)


def matrix() -> str:
    """Who may do what, as a Markdown table."""
    rows = [("see lineage, runs, logs, metadata, metrics", Role.VIEWER)]
    rows += [(f"`{name}`", needed) for name, needed in sorted(MUTATIONS.items(), key=lambda row: (row[1].rank, row[0]))]
    rows += [(f"`POST /{name}/...`", needed) for name, needed in sorted(REPORTS.items())]
    rows += [
        (f"give a run a tag that begins with {', '.join(f'`{tag}`' for tag in PLACEMENT_TAGS)}", Role.ADMIN),
        (f"start a run with the tag `{BUDGET_TAG}`, whatever a budget says, or start such a run again", Role.ADMIN),
        ("see Dagster's own configuration (`dagster.yaml`)", Role.ADMIN),
        ("any mutation that a newer Dagster brings", Role.ADMIN),
    ]
    lines = ["| | nobody | viewer | editor | admin |", "|---|---|---|---|---|"]
    for what, needed in rows:
        marks = " | ".join("yes" if role.covers(needed) else "-" for role in Role)
        lines.append(f"| {what} | - | {marks} |")
    return "\n".join(lines) + "\n"
