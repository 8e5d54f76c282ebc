"""Forking from a process that has imported: real processes, real deaths."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caudal.forking import client, wire

TASKS = """
import os, signal, sys, time

def write(arguments, extra):
    os.write(extra[0], arguments["text"].encode())
    print("said")
    print("warned", file=sys.stderr)
    return arguments["status"]

def sleep(arguments, extra):
    if extra:
        os.write(extra[0], b"%d" % os.getpid())
    time.sleep(arguments["seconds"])
    return 0

def surroundings(arguments, extra):
    import json
    os.write(extra[0], json.dumps({
        "environment": dict(os.environ), "folder": os.getcwd(), "session": os.getsid(0) == os.getpid(),
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None,
        "name": open("/proc/self/comm").read().strip() if os.path.exists("/proc/self/comm") else None,
        "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    }).encode())
    return 0

def fail(arguments, extra):
    raise ValueError("the mill is broken")

def leave(arguments, extra):
    sys.exit("no flour")

def needs(arguments, extra):
    import heavy
    os.write(extra[0], b"%d" % heavy.IMPORTED_BY)
    return 0

def again(arguments, extra):
    from caudal.forking import client
    child = client.fork("mill:write", {"text": "grandchild", "status": 7}, stdin=0, stdout=1, stderr=2, extra=extra)
    return child.wait(30)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Starts a server with these settings, and gives its socket."""
    (tmp_path / "mill.py").write_text(textwrap.dedent(TASKS))
    (tmp_path / "heavy.py").write_text("import os\nIMPORTED_BY = os.getpid()\n")
    started: list[subprocess.Popen[bytes]] = []
    path = tmp_path / "s.sock"

    def start(settings: str = "") -> Path:
        code = f"from pathlib import Path; from caudal.forking.server import Server; import sys; Server(Path(sys.argv[1]){settings}).serve()"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], env=environment, stderr=(tmp_path / "err").open("ab")
        )
        started.append(process)
        until(lambda: listens(path) or process.poll() is not None)
        return path

    start.processes = started  # type: ignore[attr-defined]
    yield start
    for process in started:
        process.kill()
        process.wait()


def listens(path: Path) -> bool:
    try:
        client.connect(path).close()
    except client.ForkingFailed:
        return False
    return True


def until(true: Callable[[], object], within_s: float = 60, every_s: float = 0.01) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(every_s)


def ask(path: Path, task: str, arguments: dict[str, Any] | None = None, **more: Any) -> tuple[client.Forked, int]:
    """The process, and the end of a pipe that it writes to."""
    reading, writing = os.pipe()
    try:
        options = {"stdin": 0, "stdout": 1, "stderr": 2, **more}
        return client.fork(task, arguments or {}, extra=[writing], server=path, **options), reading
    finally:
        os.close(writing)


def read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read()


def test_a_task_gets_its_arguments_and_descriptors_and_its_result_is_the_status(server: Any, tmp_path: Path) -> None:
    out, err = (tmp_path / "out").open("wb"), (tmp_path / "warnings").open("wb")
    with out, err:
        child, told = ask(server(), "mill:write", {"text": "flour", "status": 3}, stdout=out.fileno(), stderr=err.fileno())
        assert child.wait(30) == 3
    assert read(told) == b"flour"
    assert (tmp_path / "out").read_text() == "said\n"
    assert (tmp_path / "warnings").read_text() == "warned\n"


def test_a_child_is_clean_and_gets_the_environment_and_folder_that_were_asked_for(server: Any, tmp_path: Path) -> None:
    import json

    path = server()
    held = [ask(path, "mill:sleep", {"seconds": 600}) for _ in range(3)]
    child, told = ask(path, "mill:surroundings", environment={"FLOUR": "rye"}, folder=tmp_path, name="a mill of grain")
    seen = json.loads(read(told))
    assert child.wait(30) == 0
    assert {n: v for n, v in seen["environment"].items() if n != "LC_CTYPE"} == {"FLOUR": "rye", "CAUDAL_FORKED_BY": str(path)}
    assert seen["folder"] == str(tmp_path)
    assert seen["session"]
    assert seen["term"]
    if seen["name"] is not None:
        assert seen["name"] == "a mill of grain"
        assert seen["descriptors"] <= 6  # 0, 1, 2, the pipe, the news for the server, and the listing itself
    for process, descriptor in held:
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        os.close(descriptor)


def test_what_fails_is_told_and_the_server_goes_on(server: Any, tmp_path: Path) -> None:
    path = server()
    with (tmp_path / "errors").open("wb") as errors:
        for task, status in (("mill:fail", 1), ("mill:leave", 1), ("mill:nothing", 1), ("nowhere:at_all", 1)):
            child, descriptor = ask(path, task, stderr=errors.fileno())
            assert child.wait(30) == status
            os.close(descriptor)
    said = (tmp_path / "errors").read_text()
    assert "ValueError: the mill is broken" in said
    assert "no flour" in said
    child, told = ask(path, "mill:write", {"text": "on", "status": 0})
    assert child.wait(30) == 0
    assert read(told) == b"on"


def test_a_task_that_is_not_offered_is_refused(server: Any) -> None:
    path = server(', tasks=frozenset({"mill:write"})')
    with pytest.raises(client.ForkingFailed, match="mill:sleep is not among the tasks"):
        ask(path, "mill:sleep", {"seconds": 1})


def test_what_a_child_had_to_import_is_imported_once_for_those_after_it(server: Any) -> None:
    path = server(', preloadable=frozenset({"heavy"})')
    first, told = ask(path, "mill:needs")
    assert first.wait(30) == 0
    assert int(read(told)) == first.pid

    def imported_by_the_server() -> bool:
        child, descriptor = ask(path, "mill:needs")
        return int(read(descriptor)) == server.processes[0].pid and child.wait(30) == 0

    until(imported_by_the_server, every_s=0.5)  # it imports when nobody asks for anything


def test_what_has_to_be_made_ready_is_made_ready_by_its_own_function(server: Any, tmp_path: Path) -> None:
    (tmp_path / "oven.py").write_text("import heavy\ndef heat(): heavy.IMPORTED_BY = 451\n")
    path = server(', preloadable=frozenset({"heavy"}), preparations={"heavy": "oven:heat"}')

    def heated() -> bool:
        child, descriptor = ask(path, "mill:needs")
        return read(descriptor) == b"451" and child.wait(30) == 0

    until(heated, every_s=0.5)


def test_a_child_can_ask_for_more(server: Any) -> None:
    child, told = ask(server(), "mill:again")
    assert child.wait(30) == 7
    assert read(told) == b"grandchild"


def test_a_child_outlives_its_server_unless_it_should_not(server: Any) -> None:
    path = server()
    free, one = ask(path, "mill:sleep", {"seconds": 600})
    bound, other = ask(path, "mill:sleep", {"seconds": 600}, dies_with_server=True)
    server.processes[0].kill()
    server.processes[0].wait()
    if sys.platform == "linux":
        assert bound.wait(30) == client.UNKNOWN_STATUS
    assert free.poll() is None
    free.send_signal(signal.SIGTERM)
    assert free.wait(30) == client.UNKNOWN_STATUS
    for descriptor in (one, other):
        os.close(descriptor)


def test_a_server_that_was_killed_leaves_its_place_to_the_next(server: Any) -> None:
    path = server()
    server.processes[0].kill()
    server.processes[0].wait()
    with pytest.raises(client.ForkingFailed, match="nobody listens"):
        ask(path, "mill:sleep", {"seconds": 1})
    server()
    child, told = ask(path, "mill:write", {"text": "again", "status": 0})
    assert child.wait(30) == 0
    assert read(told) == b"again"


def test_two_servers_do_not_share_a_place(server: Any, tmp_path: Path) -> None:
    path = server()
    second = subprocess.run([sys.executable, "-m", "caudal.forking", str(path)], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"another process serves at {path}" in second.stderr
    assert listens(path)


def test_a_server_that_nobody_needs_ends(server: Any) -> None:
    path = server(", idle_s=0.3")
    child, descriptor = ask(path, "mill:sleep", {"seconds": 1})
    assert child.wait(30) == 0
    os.close(descriptor)
    assert server.processes[0].wait(30) == 0
    assert not path.exists()


def test_a_server_that_retires_takes_nothing_new_and_waits_for_its_children(server: Any) -> None:
    path = server()
    child, descriptor = ask(path, "mill:sleep", {"seconds": 600})
    client.retire(path)
    until(lambda: not path.exists())
    with pytest.raises(client.ForkingFailed):
        ask(path, "mill:sleep", {"seconds": 1})
    assert server.processes[0].poll() is None
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    assert server.processes[0].wait(30) == 0
    os.close(descriptor)


def test_no_child_stays_a_zombie_though_nobody_waits_for_it(server: Any) -> None:
    path = server()
    pids = []
    for _ in range(20):
        child, told = ask(path, "mill:write", {"text": "x", "status": 0})
        assert read(told) == b"x"
        pids.append(child.pid)
        child.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids) or not Path("/proc").is_dir())


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\5nope!", b"\0\0\0\2{}"],
    ids=lambda sent: sent.hex() or "nothing",
)
def test_nonsense_is_answered_and_harms_nobody(server: Any, sent: bytes) -> None:
    path = server()
    with contextlib.closing(client.connect(path)) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            connection.recv(1000)
    child, told = ask(path, "mill:write", {"text": "on", "status": 0})
    assert child.wait(30) == 0
    assert read(told) == b"on"


def test_a_hundred_children_asked_for_by_many_at_once_all_come_and_no_descriptor_stays(server: Any) -> None:
    path = server()
    pid = server.processes[0].pid
    folder = Path(f"/proc/{pid}/fd")
    before = len(list(folder.iterdir())) if folder.is_dir() else 0
    texts: list[bytes] = []

    def some(start: int) -> None:
        for number in range(start, start + 25):
            child, told = ask(path, "mill:write", {"text": str(number), "status": 0})
            texts.append(read(told))
            assert child.wait(20) == 0

    threads = [threading.Thread(target=some, args=(start,)) for start in (0, 25, 50, 75)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(int(text) for text in texts) == list(range(100))
    if folder.is_dir():
        until(lambda: len(list(folder.iterdir())) <= before)


def test_a_message_that_is_too_long_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [(wire.LONGEST_BYTES + 1).to_bytes(4, "big")], [])
        with pytest.raises(ValueError, match="expected at most"):
            wire.receive(theirs)
