"""How a table is laid out: what a contract may say of partitions and clusters, and what is refused with file and line."""

import pytest

from caudal.contracts import Layout, read_contract
from caudal.declaration import DeclarationError

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
customProperties:
{properties}
schema:
  - name: orders
    properties:
      - {{name: id, logicalType: integer}}
      - {{name: ordered_on, logicalType: date}}
      - {{name: paid_at, logicalType: timestamp}}
      - {{name: weight, logicalType: number, physicalType: DOUBLE}}
      - {{name: price, logicalType: number}}
      - {{name: tags, logicalType: array, items: {{logicalType: string}}}}
"""
FIRST_LINE = 7


@pytest.fixture
def read(tmp_path):
    def reading(**properties):
        lines = [f"  - {{property: {name}, value: {value}}}" for name, value in properties.items()]
        path = tmp_path / "orders.odcs.yaml"
        path.write_text(CONTRACT.format(properties="\n".join(lines) or "  []"))
        return read_contract(path)

    return reading


def test_a_contract_that_says_nothing_is_one_piece_sorted_by_lake_file(read):
    assert read().layout == Layout(None, "day", ("_file",), require_partition_filter=False)


def test_partitions_and_clusters_are_as_declared(read):
    contract = read(
        partitionBy="paid_at", partitionGranularity="hour", clusterBy="[price, id, _file]", requirePartitionFilter="true"
    )
    assert contract.layout == Layout("paid_at", "hour", ("price", "id", "_file"), require_partition_filter=True)
    assert read(partitionBy="_loaded_at").layout.partition_by == "_loaded_at"


def test_the_layout_decides_nothing_about_how_rows_are_read(read):
    assert read(partitionBy="ordered_on").fingerprint == read().fingerprint


@pytest.mark.parametrize(
    ("properties", "line", "problem"),
    [
        ({"partitionBy": "orderd_on"}, 0, "partitionBy: there is no column 'orderd_on'; is `ordered_on` meant?"),
        ({"partitionBy": "id"}, 0, "partitionBy: column `id` is of the type integer; expected a date or a timestamp"),
        ({"partitionGranularity": "day"}, 0, "partitionGranularity: it needs `partitionBy`"),
        ({"requirePartitionFilter": "true"}, 0, "requirePartitionFilter: it needs `partitionBy`"),
        ({"partitionBy": "ordered_on", "partitionGranularity": "hour"}, 1, "which has no hour"),
        ({"partitionBy": "ordered_on", "partitionGranularity": "week"}, 1, "expected `hour`, `day`, `month` or `year`"),
        ({"clusterBy": "id"}, 0, "clusterBy: 'id'; expected a list of 1 to 4 different columns"),
        ({"clusterBy": "[id, id]"}, 0, "different columns"),
        ({"clusterBy": "[id, price, paid_at, ordered_on, _file]"}, 0, "expected a list of 1 to 4"),
        ({"clusterBy": "[weight]"}, 0, "column `weight` cannot sort a table on BigQuery"),
        ({"clusterBy": "[tags]"}, 0, "column `tags` cannot sort a table on BigQuery"),
        ({"partitionBy": "ordered_on", "requirePartitionFilter": "often"}, 1, "'often'; expected true or false"),
        ({"partitionby": "ordered_on"}, 0, "the custom property `partitionby` is unknown; is `partitionBy` meant?"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(read, properties, line, problem):
    with pytest.raises(DeclarationError) as refused:
        read(**properties)
    assert f".yaml:{FIRST_LINE + line}: " in str(refused.value)
    assert problem in str(refused.value)
