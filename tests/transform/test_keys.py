"""Which columns identify a row, as dbt's tests declare."""

from caudal.transform.keys import declared_keys


def generic(name: str, test: str, node: str, **given) -> dict:
    return {"unique_id": name, "attached_node": node, "column_name": given.pop("column", None), "test_metadata": {"name": test, "kwargs": given}}  # fmt: skip


def test_a_unique_column_is_the_key_or_else_a_unique_combination():
    tests = [
        generic("t1", "not_null", "a", column="z"),
        generic("t2", "unique", "a", column="id"),
        generic("t3", "unique_combination_of_columns", "a", combination_of_columns=["x", "y"]),
        generic("t4", "unique_combination_of_columns", "b", combination_of_columns=["day", '"shop"']),
        generic("t5", "unique", "source.of.another", column="id"),
        generic("t6", "unique", "a", column="other_id"),
    ]
    models = [{"unique_id": name, "schema": "marts", "alias": name} for name in "abc"]
    found = declared_keys({"nodes": {node["unique_id"]: node for node in [*tests, *models]}})
    assert found == {"marts.a": ("id",), "marts.b": ("day", "shop")}
