"""Who sees what in BigQuery, and a person's rows erased there, against the test server."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import googleapiclient
import pyarrow as pa
import pytest
from google.cloud import bigquery as api

from caudal.contracts.access import Access, RowPolicy
from caudal.runtime.erasure import finding
from caudal.runtime.erasure.applying import apply
from caudal.runtime.erasure.subjects import where
from caudal.store import open_store
from caudal.store.gcs import GoogleStore
from caudal.warehouse.bigquery import erasing
from caudal.warehouse.bigquery.access import ALL_ROWS, guard, policy_statements, tagged
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.candidate import open_candidate
from caudal.warehouse.loading import load_pending
from caudal.warehouse.raw_tables import raw_tables
from caudal.warehouse.suppression import Entry, Suppressed
from caudal.warehouse.versions import kept
from tests.runtime.erasure.conftest import CONTRACT, HEADER, MARKER
from tests.services.googlesql import analyze
from tests.services.in_bigquery import environment, rows_of

TAG = "projects/p/locations/us/taxonomies/1/policyTags/2"
NORTH = RowPolicy("north", ("user:ann@example.com",), "region = 'north'")


@pytest.fixture
def env(tmp_path, bigquery):
    made = environment(bigquery, tmp_path / "data")
    return replace(made, cloud=replace(made.cloud, bigquery_read_host=bigquery.grpc_address))


def seen_by(bigquery, env, member, relation="marts.sales"):
    found = bigquery.client(member).query(f"SELECT * FROM `{env.cloud.table(relation)}`").result()
    return sorted(tuple(row) for row in found)


def published(env, access, rows=(("ann", "north"), ("ben", "south"))):
    table = pa.table({"who": [r[0] for r in rows], "region": [r[1] for r in rows]})
    with open_candidate(env) as candidate:
        candidate.write({"marts.sales": table})
        candidate.declare({"marts.sales": access})
        return candidate.publish(["marts.sales"])


def test_whoever_is_granted_rows_sees_these_alone_and_others_none(env, bigquery):
    published(env, Access(rows=(NORTH,)))
    assert seen_by(bigquery, env, "ann@example.com") == [("ann", "north")]
    assert seen_by(bigquery, env, "ben@example.com") == []
    assert rows_of(env, "marts.sales") == [("ann", "north"), ("ben", "south")]


def test_a_copy_loses_the_policies_that_are_declared_no_more(env, bigquery):
    published(env, Access(rows=(NORTH,)))
    guard(BigQuery(env.cloud), env.cloud.table("marts.sales"), Access(), may_have_policies=True)
    assert len(seen_by(bigquery, env, "ben@example.com")) == 2


def test_a_table_that_is_added_to_keeps_its_policies(env, bigquery):
    published(env, Access(rows=(NORTH,)))
    with open_candidate(env) as candidate:
        candidate.prepare(["marts.sales"], incremental=["marts.sales"])
        with candidate.connect() as connection:
            connection.execute("INSERT INTO marts.sales VALUES ('cleo', 'north'), ('dan', 'south')")
        candidate.declare({"marts.sales": Access(rows=(NORTH,))})
        candidate.publish(["marts.sales"])
    assert seen_by(bigquery, env, "ann@example.com") == [("ann", "north"), ("cleo", "north")]
    assert seen_by(bigquery, env, "ben@example.com") == []


def test_the_statements_are_googlesql():
    statements = policy_statements(
        "caudal-tests.shop.sales", Access(rows=(NORTH,)), "serviceAccount:a@b.iam.gserviceaccount.com"
    )
    said = analyze({"caudal-tests.shop.sales": {"region": "STRING"}}, {str(n): s for n, s in enumerate(statements)})
    assert [each.error for each in said.values()] == [None] * 3
    assert f"`{ALL_ROWS}`" in statements[1]
    assert statements[1].endswith("FILTER USING (TRUE)")


def test_what_finds_and_removes_a_persons_rows_is_googlesql(declare):
    columns = list(declare(CONTRACT).contract.columns[:1])
    listed = Suppressed("salt", (Entry("customer", "ab", "1", ""),))
    raw = {"customer": "STRING", "_file": "STRING", "_row": "INT64"}
    tables = {"caudal-tests.loading.t": raw, "caudal-tests.quarantine.t": raw | {"record": "STRING", "value": "STRING"}}
    statements = {
        relation: erasing.rows_of(relation, columns, listed)[0].format(table=f"`caudal-tests.{place}`")
        for relation, place in (("raw.t", "loading.t"), ("quarantine.t", "quarantine.t"))
    }
    ((condition, _),) = erasing.removals({"a.csv": [1, 2], "b.csv": [3]})
    statements["remove"] = f"DELETE FROM `caudal-tests.loading.t` WHERE {condition}"
    statements["count"] = erasing.counts("quarantine.t").format(table="`caudal-tests.quarantine.t`")
    said = analyze(tables, statements)
    assert {name: each.error for name, each in said.items()} == dict.fromkeys(statements)


def test_classified_columns_have_the_tag_of_their_classification_as_the_api_has_it():
    inner = api.SchemaField("phone", "STRING")
    fields = [api.SchemaField("who", "STRING"), api.SchemaField("n", "INT64"), api.SchemaField("to", "RECORD", fields=[inner])]
    found = tagged(fields, {"who": "personal", "to.phone": "personal", "n": "secret"}, {"personal": TAG})
    told = [field.to_api_repr() for field in found]
    assert told[0]["policyTags"] == told[2]["fields"][0]["policyTags"] == {"names": [TAG]}
    assert "policyTags" not in told[1]
    documents = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    known = json.loads((documents / "bigquery.v2.json").read_text())["schemas"]["TableFieldSchema"]["properties"]
    assert set(told[0]) <= set(known)
    assert set(told[0]["policyTags"]) <= set(known["policyTags"]["properties"])
    again = [api.SchemaField.from_api_repr(each) for each in told]
    assert "policyTags" not in tagged(again, {}, {"personal": TAG})[0].to_api_repr()


def test_a_person_is_erased_from_raw_rejects_and_published_tables(env, declare, gcs, bigquery, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    dataset = declare(CONTRACT)
    monkeypatch.setattr(type(env), "lake_url", property(lambda self: str(self.lake)))
    for name, content in (("a", f"{MARKER},apple,1\nben,pear,2\n{MARKER},fig,many\n"), ("b", "ben,plum,3\n")):
        path = env.lake / "stall" / "sales" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + content)
    load_pending(env, dataset, "run")
    with open_candidate(env, [dataset]) as candidate:
        candidate.write({"marts.buyers": pa.table({"customer": [MARKER, "ben"], "units": [1, 2]})})
        candidate.publish(["marts.buyers"])
    places = where(env, "customer", [dataset], {})
    plan = finding.find(env, places, MARKER, reason="T-1", asked_by="ann")
    told = {(place.kind, place.name): place.rows for place in plan.places}
    assert told["raw table", "raw.stall__sales"] == told["rejects", "quarantine.stall__sales"] == 1
    assert told["published table", "marts.buyers"] == 1
    journal = apply(env, plan, places, "bob", lambda datasets: [])
    assert journal.left == []
    assert [row[0] for row in rows_of(env, "raw.stall__sales")] == ["ben", "ben"]
    assert rows_of(env, "marts.buyers") == [("ben", 2)]
    assert raw_tables(env).files_with_rows("quarantine.stall__sales") == set()
    assert [version.name for version in kept(env)] == [journal.version]
    jobs = [str(job.to_api_repr()) for job in bigquery.client().list_jobs() if job.job_type == "query"]
    assert not [job for job in jobs if MARKER in job and "SHA256" in job]


def test_a_person_is_taken_out_of_the_files_in_the_bucket_and_a_file_that_lands_meanwhile_is_not_lost(
    env, declare, gcs, monkeypatch
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    env = replace(env, cloud=replace(env.cloud, bucket=gcs.bucket()))
    dataset = declare(CONTRACT, path="*")
    lake = open_store(env.lake_url)

    def land(name, text):
        gcs.put(f"{env.lake_url}/stall/sales/{name}", gzip.compress(text.encode()) if name.endswith("gz") else text.encode())

    land("a.csv", f"{HEADER}{MARKER},apple,1\nben,pear,2\n{MARKER},fig,many\n")
    land("b.csv.gz", f"{HEADER}{MARKER},plum,3\ncleo,kiwi,4\n")
    land("c.csv", f"{HEADER}dora,nut,5\n")
    load_pending(env, dataset, "run")
    with open_candidate(env, [dataset]) as candidate:
        candidate.write({"marts.buyers": pa.table({"customer": [MARKER, "ben"]})})
        candidate.publish(["marts.buyers"])
    untouched = lake.find("stall/sales/c.csv")
    places = where(env, "customer", [dataset], {})
    plan = finding.find(env, places, MARKER, reason="T-1", asked_by="ann", rewrite_lake=True)

    exchanged = GoogleStore.exchange

    def late(store, path, version, source):
        if path.endswith("a.csv") and not landed:
            landed.append(path)
            land("a.csv", f"{HEADER}{MARKER},apple,1\nben,pear,2\nemma,fig,6\n")
        return exchanged(store, path, version, source)

    landed = []
    monkeypatch.setattr(GoogleStore, "exchange", late)
    journal = apply(env, plan, places, "bob", lambda datasets: [])
    assert (journal.left, landed) == ([], ["stall/sales/a.csv"])
    held = {found.path: lake.fetch(found, env.data / "held").read_bytes() for found in lake.list("")}
    assert held["stall/sales/a.csv"].decode() == f"{HEADER}ben,pear,2\nemma,fig,6\n"
    assert gzip.decompress(held["stall/sales/b.csv.gz"]).decode() == f"{HEADER}cleo,kiwi,4\n"
    assert lake.find("stall/sales/c.csv") == untouched
    load_pending(env, dataset, "run")
    assert {row[0] for row in rows_of(env, "loading.stall__sales")} == {"ben", "cleo", "dora", "emma"}
    objects = open_store(f"gs://{env.cloud.bucket}")
    contents = [objects.fetch(found, env.data / "all").read_bytes() for found in objects.list("")]
    assert len(contents) >= 3
    assert not [each for each in contents if MARKER.encode() in each]
