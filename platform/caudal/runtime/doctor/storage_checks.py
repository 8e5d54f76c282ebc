"""The bucket: whether it is there, in the right place, and what may be done in it."""

from __future__ import annotations

from collections.abc import Iterator

from caudal.runtime.doctor.checks import Check, failed, ok, skipped
from caudal.runtime.doctor.cloud import Asking, judged, lacking
from caudal.runtime.doctor.permissions import On, on

#: Regions in Europe that are not in the multi-region EU, https://cloud.google.com/bigquery/docs/locations#multi-regions
_NOT_IN_THE_EU = {"europe-west2", "europe-west6"}
_DUAL = {"EUR4": "EU", "EUR5": "EU", "EUR7": "EU", "EUR8": "EU", "NAM4": "US"}


def bucket_checks(asking: Asking, bucket: str, what: str, *, permissions: bool) -> Iterator[Check]:
    """Of one bucket.

    Args:
        asking: whom.
        bucket: its name.
        what: it is for.
        permissions: whether the server knows of any.

    """
    name, cloud = f"bucket gs://{bucket} ({what})", asking.cloud
    answer = asking.google.bucket(bucket)
    if answer.status == 404:
        yield failed(
            name,
            "does not exist",
            f"gcloud storage buckets create gs://{bucket} --project={cloud.project} --location={cloud.location}"
            " --uniform-bucket-level-access --public-access-prevention",
        )
        return
    if answer.status == 403:
        missing = [p for p in on(On.BUCKET) if p.name == "storage.buckets.get"]
        yield failed(name, f"may not be looked at: {answer.said}", *asking.grants(On.BUCKET, bucket, missing))
    elif not answer.good:
        yield skipped(name, answer.said)
    else:
        where = str(answer.body.get("location", ""))
        if fits(where, cloud.location):
            yield ok(name, f"in {where or 'a place that the server does not tell'}; datasets are in {cloud.location}")
        else:
            yield failed(
                name,
                f"is in {where}, and load jobs into datasets in {cloud.location} cannot read it there",
                f"use a bucket in {cloud.location}, or set CAUDAL_GCP_LOCATION to {_dataset_location(where)}",
            )
    if permissions:
        needed = on(On.BUCKET)
        tested = asking.google.bucket_permissions(bucket, [p.name for p in needed])
        if tested.good:
            to_do = asking.grants(On.BUCKET, bucket, lacking(tested, needed))
            yield judged(f"permissions on gs://{bucket}", tested, needed, to_do)
        else:
            yield failed(f"permissions on gs://{bucket}", tested.said, *asking.grants(On.BUCKET, bucket, needed))


def fits(bucket: str, datasets: str) -> bool:
    """Whether load jobs into datasets in one location read a bucket in the other.

    A bucket must be in the same region; or, for datasets in a multi-region, in that or in a region within it:
    https://cloud.google.com/bigquery/docs/batch-loading-data#data-locations
    """
    bucket, datasets = bucket.upper(), datasets.upper()
    if not bucket or bucket == datasets or _DUAL.get(bucket) == datasets:
        return True
    if datasets == "US":
        return bucket.startswith("US-")
    return datasets == "EU" and bucket.startswith("EUROPE-") and bucket.lower() not in _NOT_IN_THE_EU


def _dataset_location(bucket: str) -> str:
    return _DUAL.get(bucket.upper()) or (bucket.upper() if bucket.upper() in {"EU", "US"} else bucket.lower())
