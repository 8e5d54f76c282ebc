"""The settings of formats, from YAML to the dataset."""

import pytest

from caudal.lake.component import Datasets
from caudal.lake.options import FixedWidthOptions, JsonOptions, Limits, XmlOptions

DECLARED = """
source: stall
datasets:
  - name: sales
    contract: {contract}
    format: fixed_width
    compression: zip
    members: "*.txt"
    encoding: auto
    json: {{records: data.items}}
    xml: {{record: "o:orders/o:order", namespaces: {{o: "urn:o"}}, null_markers: ["-"]}}
    fixed_width: {{columns: {{item: [1, 20], units: [21, 5]}}, skip_lines: 1, length: 40}}
    csv: {{escape: "\\\\", comment: "#", skip_lines: 2, skip_footer: 1, delimiter: auto}}
    limits: {{unpacked_bytes: 1000, ratio: 50}}
"""


@pytest.fixture
def dataset(declare, tmp_path):
    declare()
    settings = Datasets.resolve_from_yaml(DECLARED.format(contract=tmp_path / "sales.odcs.yaml"))
    (found,) = settings.declared()
    return found


def test_every_setting_of_a_format_reaches_the_dataset(dataset):
    assert (dataset.format, dataset.compression, dataset.members, dataset.encoding) == ("fixed_width", "zip", "*.txt", "auto")
    assert dataset.json == JsonOptions("data.items")
    assert dataset.xml == XmlOptions("o:orders/o:order", {"o": "urn:o"}, ("-",))
    assert dataset.xml.steps == ["o:orders", "o:order"]
    assert dict(dataset.fixed_width.columns) == {"item": [1, 20], "units": [21, 5]}
    assert (dataset.fixed_width.skip_lines, dataset.fixed_width.line_length) == (1, 40)
    csv = dataset.csv
    assert (csv.escape, csv.comment, csv.skip_lines, csv.skip_footer, csv.delimiter) == ("\\", "#", 2, 1, "auto")
    assert dataset.limits == Limits(unpacked_bytes=1000, ratio=50)


def test_the_line_is_as_long_as_the_last_column_unless_declared():
    assert FixedWidthOptions({"a": (1, 3), "b": (10, 5)}).line_length == 14


def test_a_format_that_needs_telling_is_not_declared_without(declare):
    with pytest.raises(ValueError, match=r"`xml.record` is missing"):
        declare(format="xml")
    with pytest.raises(ValueError, match=r"`fixed_width.columns` is missing"):
        declare(format="fixed_width")


def test_how_a_file_is_read_is_part_of_the_fingerprint(declare):
    assert declare().fingerprint != declare(members="*.csv").fingerprint
    assert declare().fingerprint == declare().fingerprint
