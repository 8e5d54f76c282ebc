"""What backfills take from Dagster beyond its public API: an upgrade that changes it fails here, by name."""

import inspect

from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.runs.schema import BulkActionsTable


def test_the_name_of_a_backfill_is_unique_in_the_storage_and_ours_fits():
    key = BulkActionsTable.c.key
    assert key.unique, "Dagster's storage admits two backfills of one name: a request could be launched twice"
    assert key.type.length >= 32, "the names of backfills have become shorter than ours"


def test_a_backfill_is_made_from_a_subset_of_assets():
    wanted = [
        "backfill_id",
        "backfill_timestamp",
        "tags",
        "dynamic_partitions_store",
        "asset_graph_subset",
        "title",
        "description",
    ]
    taken = inspect.signature(PartitionBackfill.from_asset_graph_subset).parameters
    assert [name for name in wanted if name not in taken] == [], "PartitionBackfill takes other parameters"
    assert AssetGraphSubset._fields == ("partitions_subsets_by_asset_key", "non_partitioned_asset_keys")
    assert BulkActionStatus.REQUESTED.value == "REQUESTED"
