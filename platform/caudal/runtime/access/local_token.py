"""A token by which `caudal up` looks at the webserver that it started, when people have to sign in.

It lies in a file that only the account of both can read, is new at each start, makes its bearer a viewer, and is good on this
machine's loopback only.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE_NAME = "viewer-token"


def renew(dagster_home: Path) -> str:
    """A new token, in place of the one before. Send it as `Authorization: Bearer <token>`."""
    from caudal.store import write_atomically

    token = secrets.token_urlsafe(32)
    with write_atomically(dagster_home / FILE_NAME) as temporary:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w") as text:
            os.fchmod(text.fileno(), 0o600)
            text.write(token)
    return token


def current(dagster_home: Path) -> bytes | None:
    """The token that is good now, None if there is none."""
    try:
        return (dagster_home / FILE_NAME).read_bytes().strip() or None
    except OSError:
        return None
