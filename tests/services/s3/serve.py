"""S3 for tests: moto's server, one request at a time, so that a condition and the write that it is for are one step.

python serve.py PORT

A POST to `/-/seed/<bucket>` makes an object of one byte of each line's name: thousands take S3's protocol a minute.
"""

import sys
from collections.abc import Callable, Iterable

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

SEED = "/-/seed/"
s3 = DomainDispatcherApplication(create_backend_app)


def serve(environment: dict, start_response: Callable) -> Iterable[bytes]:
    path = environment["PATH_INFO"]
    if not path.startswith(SEED):
        return s3(environment, start_response)
    names = environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"])).decode()
    for name in names.splitlines():
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(path.removeprefix(SEED), name, value=b"1")
    start_response("200 OK", [("Content-Length", "0")])
    return []


run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=False)
