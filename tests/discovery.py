"""Google's own description of its interfaces, as google-api-python-client ships it: does a request, or an answer, fit it?"""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

APIS = (
    "bigquery.v2",
    "storage.v1",
    "cloudresourcemanager.v1",
    "serviceusage.v1",
    "iamcredentials.v1",
    "pubsub.v1",
    "datacatalog.v1",
)
#: Parameters that every interface has, though its description leaves some out.
EVERYWHERE = {"alt", "fields", "key", "prettyPrint", "quotaUser", "uploadType", "userIp", "$.xgafv", "access_token", "callback"}
#: What Google's own client of BigQuery sends beside what is described.
BY_THE_CLIENT = {"bigquery.jobs.get": {"projection"}, "bigquery.jobs.insert": {"upload_id"}}


@dataclass(frozen=True)
class Method:
    """One method of one interface: `bigquery.jobs.insert`."""

    id: str
    api: str
    request: dict[str, Any] | None
    response: dict[str, Any] | None
    parameters: dict[str, Any]
    path: re.Pattern[str]
    verb: str


@functools.cache
def document(api: str) -> dict[str, Any]:
    import googleapiclient

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return json.loads((folder / f"{api}.json").read_text())


@functools.cache
def methods(api: str) -> tuple[Method, ...]:
    described = document(api)
    base = f"/{described['servicePath']}"
    return tuple(_methods(api, base, described["resources"]))


def _methods(api: str, base: str, resources: dict[str, Any]) -> Iterator[Method]:
    for resource in resources.values():
        for told in resource.get("methods", {}).values():
            paths = [base + told.get("flatPath", told["path"])]
            if "mediaUpload" in told:
                paths += [p["path"] for p in told["mediaUpload"]["protocols"].values()]
            for path in paths:
                shape = re.sub(r"\\\{\\?\+?\w+\\\}", "[^/]+", re.escape(path))
                yield Method(
                    told["id"], api, told.get("request"), told.get("response"), told.get("parameters", {}),
                    re.compile(shape), told["httpMethod"],
                )  # fmt: skip
        yield from _methods(api, base, resource.get("resources", {}))


def method_of(verb: str, url: str, apis: tuple[str, ...] = APIS) -> Method | None:
    """The method that a request is of; None if no interface has such a one."""
    path = re.sub(r"^/bigquery/v2/bigquery/v2", "/bigquery/v2", urlsplit(url).path)
    for api in apis:
        for method in methods(api):
            if method.verb == verb and (method.path.fullmatch(path) or method.path.fullmatch(unquote(path))):
                return method
    return None


def wrong_with_request(verb: str, url: str, body: Any = None) -> list[str]:
    """What of a request the interface does not describe, each with where it stands; nothing if it fits."""
    if verb == "PUT" and urlsplit(url).path.startswith("/upload/"):
        return []  # a piece of an upload that was begun by a request with a document
    method = method_of(verb, url)
    if method is None:
        return [f"no interface has {verb} {urlsplit(url).path}"]
    known = set(method.parameters) | EVERYWHERE | BY_THE_CLIENT.get(method.id, set())
    found = [f"{method.id} has no parameter {name}" for name, _ in parse_qsl(urlsplit(url).query) if name not in known]
    if body is None:
        return found
    if method.request is None:
        return [*found, f"{method.id} takes no document"] if body else found
    return found + list(wrong(method.api, method.request, body, method.id))


def wrong_with_answer(verb: str, url: str, body: Any) -> list[str]:
    """What of a good answer the interface does not describe."""
    method = method_of(verb, url)
    assert method is not None, f"{verb} {url}"
    return list(wrong(method.api, method.response, body, method.id)) if method.response else []


def wrong(api: str, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
    """What of `value` a schema of discovery does not allow."""
    if "$ref" in schema:
        schema = document(api)["schemas"][schema["$ref"]]
    kind = schema.get("type", "object")
    if value is None or kind == "any":
        return
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{where} is {value!r}; expected an object"
            return
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, member in value.items():
            known = properties.get(name) or others
            if known is None:
                yield f"{where}.{name} is not described"
            else:
                yield from wrong(api, known, member, f"{where}.{name}")
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{where} is {value!r}; expected a list"
            return
        for place, member in enumerate(value):
            yield from wrong(api, schema["items"], member, f"{where}[{place}]")
    elif not _fits(kind, schema.get("format", ""), value):
        yield f"{where} is {value!r}; expected {kind} {schema.get('format', '')}".rstrip()
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}; expected one of {', '.join(schema['enum'])}"


def _fits(kind: str, form: str, value: Any) -> bool:
    if form in {"int64", "uint64"} and kind == "string":
        # JSON has no such integers: they are texts, and numbers are taken too.
        return not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value)) is not None
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, (int, float)) and not isinstance(value, bool)
