"""What statements change is read off them, and what is not a branch's own is refused."""

import pytest

from caudal.google_cloud import GoogleCloud
from caudal.warehouse.bigquery.explained import BigQueryRefused
from caudal.warehouse.bigquery.guard import guarded, look, refuse_statements, targets

PRODUCTION = GoogleCloud("acme-data", "EU", "acme", "shop_")
BRANCH = PRODUCTION.of_branch("vat")


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("SELECT CASE WHEN a THEN b ELSE c END FROM `p.d.t`", []),
        ("WITH a AS (SELECT 1) SELECT 'DROP TABLE d.t' FROM a -- ; DROP TABLE d.t", []),
        ("CREATE OR REPLACE TABLE `acme-data.d.t` (policy STRING, `index` INT64)", ["`acme-data.d.t`"]),
        ("CREATE SNAPSHOT TABLE IF NOT EXISTS d.t CLONE e.t OPTIONS(expiration_timestamp=NULL)", ["d.t"]),
        ("BEGIN TRANSACTION; DELETE FROM `p`.`d`.`t` WHERE x='a;b'; INSERT d.u (a) SELECT 1; COMMIT", ["`p`.`d`.`t`", "d.u"]),
        ("MERGE INTO d.t t USING e.s s ON t.a=s.a WHEN MATCHED THEN UPDATE SET a=1 WHEN NOT MATCHED THEN INSERT ROW", ["d.t"]),
        ("IF true THEN DROP TABLE d.t; ELSE TRUNCATE TABLE d.u; END IF", ["d.t", "d.u"]),
        ("CREATE OR REPLACE ROW ACCESS POLICY p ON d.t GRANT TO ('x') FILTER USING (true)", ["d.t"]),
        ("DECLARE x INT64 DEFAULT 1; SET x = 2; CREATE TEMP TABLE q AS SELECT 1", ["q"]),
        ("DROP SCHEMA IF EXISTS `p.d` CASCADE", ["`p.d`"]),
        ("UPDATE d.t SET a = CASE WHEN b THEN 1 END WHERE true", ["d.t"]),
    ],
)
def test_what_a_script_changes_is_told(sql, changed):
    assert [target.name for target in targets(sql)] == changed


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE shop_marts.t WHERE true",
        "CREATE TABLE `acme-data`.shop_branch_vat_marts.t AS SELECT 1",  # of a branch whose name begins so
        "CREATE TABLE `other-project`.shop_branch_vat__marts.t AS SELECT 1",
        "CREATE SCHEMA shop_new",
        "CALL d.procedure()",
        "EXECUTE IMMEDIATE 'x'",
        "EXPORT DATA OPTIONS(uri='gs://acme/x') AS SELECT 1",
        "ALTER PROJECT acme SET OPTIONS()",
    ],
)
def test_a_branch_s_statement_that_would_change_another_place_is_refused(sql):
    with pytest.raises(BigQueryRefused) as refused:
        refuse_statements(BRANCH, sql)
    assert refused.value.reason == "branch"


def test_a_branch_s_own_places_and_temporary_tables_are_free():
    refuse_statements(BRANCH, f"CREATE TABLE `{BRANCH.table('marts.t')}` CLONE `{PRODUCTION.table('marts.t')}`")
    refuse_statements(BRANCH, "CREATE TEMP TABLE t AS SELECT 1; INSERT INTO t SELECT 2")
    look(BRANCH, "DELETE", f"/projects/acme-data/datasets/{BRANCH.dataset('marts')}/tables/t", None)
    look(BRANCH, "GET", "/projects/acme-data/datasets/shop_marts", None)


def test_production_s_client_is_google_s_own():
    from google.cloud.bigquery import Client

    assert guarded(Client, PRODUCTION) is Client
    assert {"_call_api", "_do_resumable_upload", "_do_multipart_upload"} <= vars(Client).keys()  # What the guard overrides.


def test_dbt_s_clients_are_guarded_too(monkeypatch):
    from dbt.adapters.bigquery import clients

    from caudal.transform import dbt_bigquery

    known = clients.BigQueryClient
    monkeypatch.setattr(clients, "BigQueryClient", known)
    dbt_bigquery.guarded_clients({"project": "acme-data", "branch": {}})
    assert clients.BigQueryClient is known
    told = {"short": "vat", "bucket": "acme", "datasets": "shop_"}
    dbt_bigquery.guarded_clients({"project": "acme-data", "branch": told})
    from google.auth.credentials import AnonymousCredentials

    client = clients.BigQueryClient("acme-data", AnonymousCredentials())
    with pytest.raises(BigQueryRefused, match=r"shop_marts is not of the branch"):
        client.delete_dataset("acme-data.shop_marts")
