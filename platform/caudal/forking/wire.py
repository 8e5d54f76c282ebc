"""Messages over a Unix socket: a length, JSON, and file descriptors beside the length."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
LONGEST_BYTES = 16 * 2**20
MOST_DESCRIPTORS = 16


def send(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: the other end has gone, or takes nothing within the connection's timeout.
    """
    payload = json.dumps(message).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(payload))], descriptors)
    connection.sendall(payload)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and the descriptors that came with it; None if the other end has gone without sending one.

    Raises:
        OSError: the connection broke, or was silent for longer than its timeout.
        ValueError: what came is no message.
    """
    length, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, MOST_DESCRIPTORS)
    try:
        if not length:
            return None
        length += _exactly(connection, _LENGTH.size - len(length))
        size = _LENGTH.unpack(length)[0]
        if size > LONGEST_BYTES:
            raise ValueError(f"a message of {size} bytes was announced; expected at most {LONGEST_BYTES}")
        message = json.loads(_exactly(connection, size))
        if not isinstance(message, dict):
            raise ValueError(f"a message is {type(message).__name__}; expected an object")  # noqa: TRY004 - of what was sent
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return message, descriptors


def _exactly(connection: socket.socket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        chunk = connection.recv(size - len(read))
        if not chunk:
            raise ConnectionResetError("the other end went away within a message")
        read += chunk
    return bytes(read)
