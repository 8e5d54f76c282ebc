"""Naming nodes and tests to dbt, and which tests a build needs."""

from dataclasses import replace

import pytest

from caudal.transform.selection import resolve, selection_flags, what_to_run

FCT, SALES, REPORT = "model.stall.fct_sales", "model.stall.sales", "model.stall.report"
DIM, STAGING, TARIFFS = "model.stall.dim_customer", "model.stall.stg_pos__sales", "seed.stall.tariffs"


def names(manifest, unique_ids):
    return {manifest.checks[u].name for u in unique_ids}


def flags(manifest, *selected):
    """The flags as `{"--select": {...}, "--exclude": {...}}`, without `fqn:stall.`."""
    found: dict[str, set[str]] = {}
    for word in selection_flags(manifest, selected):
        if word.startswith("--"):
            values = found.setdefault(word, set())
        else:
            values.add(word.removeprefix("fqn:stall."))
    return found


def test_nodes_and_tests_are_found_by_unique_id_and_by_name(manifest):
    assert resolve(manifest, [FCT, "dim_customer"]) == {FCT, DIM}
    assert resolve(manifest, ["nothing_is_lost"]) == {"test.stall.nothing_is_lost"}
    assert resolve(manifest, None) == {*manifest.nodes, *manifest.checks}


def test_an_unknown_name_is_refused_with_what_comes_close(manifest):
    with pytest.raises(ValueError, match="stall has no node or test 'fct_sale'; did you mean fct_sales"):
        resolve(manifest, ["fct_sale"])


def test_all_is_selected_by_saying_nothing_but_what_is_no_check(manifest):
    assert flags(manifest, *resolve(manifest, None)) == {"--exclude": {"one_is_one"}}


def test_what_an_fqn_would_sweep_in_is_excluded(manifest):
    assert flags(manifest, SALES) == {"--select": {"marts.sales.sales"}, "--exclude": {"marts.sales.sales.report"}}
    assert flags(manifest, SALES, REPORT) == {"--select": {"marts.sales.sales", "marts.sales.sales.report"}}


def test_nothing_that_was_asked_for_is_excluded(manifest):
    unit_test = "unit_test.stall.sales.amounts_are_added"
    below_report = replace(manifest.checks[unit_test], fqn=("stall", "marts", "sales", "sales", "report", "amounts_are_added"))
    moved = replace(manifest, checks={**manifest.checks, unit_test: below_report})
    assert flags(moved, SALES, unit_test) == {
        "--select": {"marts.sales.sales", "marts.sales.sales.report.amounts_are_added"},
    }


def test_a_build_also_runs_the_tests_of_other_assets_that_read_what_it_builds(manifest):
    own = [u for u, check in manifest.checks.items() if check.attached_to == DIM]
    assert names(manifest, what_to_run(manifest, [DIM], own)) == {
        "customers_have_numbers",
        "customer_is_known",
        "source_unique_pos_sales_sale_id",
    }


def test_a_build_also_runs_the_tests_of_the_sources_that_it_reads_through_views(manifest):
    own = [u for u, check in manifest.checks.items() if check.attached_to == FCT]
    assert "source_unique_pos_sales_sale_id" in names(manifest, what_to_run(manifest, [FCT], own))
    assert names(manifest, what_to_run(manifest, [TARIFFS], [])) == set()


def test_a_table_that_is_not_built_ends_the_way_to_the_sources(manifest):
    own = [u for u, check in manifest.checks.items() if check.attached_to == SALES]
    assert names(manifest, what_to_run(manifest, [SALES], own)) == {"nothing_is_lost", "amounts_are_added"}


def test_nodes_without_their_tests_are_built_without_any(manifest):
    assert what_to_run(manifest, [FCT], []) == frozenset()


def test_checks_alone_are_just_those_checks(manifest):
    asked = ["test.stall.nothing_is_lost"]
    assert what_to_run(manifest, [], asked) == frozenset(asked)
