"""The line is cut for a while: nothing is lost, and what waited is there soon after.

Twice: with a proxy in the test that goes silent, as a pulled cable does (no connection is closed, bytes wait);
and, as root, with two hosts of the kernel's own making whose line is taken down.
"""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from realtime.broker import free_port
from scanner_bridge.keys import write_key_files
from scanner_bridge.sockets import new_key_pair
from tests.live_end import a_header
from tests.loopback import free_endpoint
from tests.road import Road, road

TWO_TR_S = 2 * a_header().tr_s
HANGS_S = 30.0


@dataclass
class Line:
    """A TCP proxy in threads; while it is `cut`, nothing passes in either direction and nobody is told."""

    target_port: int
    port: int = field(default_factory=free_port)
    whole: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> "Line":
        self.whole.set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.whole.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.whole.wait()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target_port))
                except ConnectionRefusedError:  # the receiver is still starting: the bridge will try again
                    near.close()
                    continue
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.whole.wait()
                other.sendall(data)
            self.whole.wait()
            other.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        self.whole.clear()
        try:
            yield
        finally:
            self.whole.set()


def scan_through(setting: Road, cut: contextlib.AbstractContextManager[None], cut_s: float, what: str) -> None:
    """Volumes at a scanner's pace before, during and after a cut; what was taken during it is stored soon after."""
    for _ in range(3):
        setting.give()
    setting.catch_up()
    with cut:
        until_s = time.monotonic() + cut_s
        while time.monotonic() < until_s:
            setting.give()
            time.sleep(0.25)  # the pace of a scanner, four times real
    setting.catch_up()
    n_during = setting.n_taken - 3
    setting.give()
    setting.catch_up()
    assert n_during >= min(cut_s, 3)
    assert setting.stored() == list(range(setting.n_taken))
    print(json.dumps({"cut": what, "cut_s": cut_s, "volumes": setting.n_taken, "lost": 0,
                      "catch_up_s": round(setting.catch_ups_s[1], 3)}))
    assert setting.catch_ups_s[1] <= (TWO_TR_S if cut_s >= 10 else HANGS_S)


LONG = [pytest.param(seconds, marks=[pytest.mark.long]) for seconds in (10.0, 60.0)]


@pytest.mark.parametrize("cut_s", [1.5, *LONG])
def test_a_line_that_goes_silent_loses_nothing(tmp_path: Path, cut_s: float) -> None:
    endpoint = free_endpoint()
    with Line(int(endpoint.rpartition(":")[2])) as line, road(
            Road(tmp_path, endpoint, f"tcp://127.0.0.1:{line.port}")) as setting:
        scan_through(setting, line.cut(), cut_s, "silent proxy")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def can_make_hosts() -> bool:
    probe = f"innerear-probe-{os.getpid()}"
    if os.geteuid() != 0 or subprocess.run(["which", "ip"], capture_output=True, check=False).returncode:
        return False
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return False
    ip("netns", "del", probe)
    return True


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces, 10.77.0.1 and 10.77.0.2, with a line between them."""
    names = [f"innerear-{side}-{os.getpid()}" for side in ("scanner", "live")]
    ends = [f"ie{side}{os.getpid() % 100000}" for side in ("s", "l")]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for name, end, address in zip(names, ends, ("10.77.0.1/24", "10.77.0.2/24"), strict=True):
            ip("-n", name, "addr", "add", address, "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def line_down(host: str) -> Iterator[None]:
    end = f"iel{os.getpid() % 100000}"
    ip("-n", host, "link", "set", end, "down")
    try:
        yield
    finally:
        ip("-n", host, "link", "set", end, "up")


@pytest.mark.long
@pytest.mark.skipif(not can_make_hosts(), reason="network namespaces need root and iproute2")
@pytest.mark.parametrize("cut_s", [10.0, 60.0])
def test_a_line_between_two_hosts_that_is_taken_down_loses_nothing(tmp_path: Path, cut_s: float) -> None:
    bridge, live = (write_key_files(tmp_path, name, new_key_pair()) for name in ("bridge", "live"))
    with two_hosts() as (scanner, other), road(Road(
            tmp_path, "tcp://10.77.0.2:5577", sender_keys=(bridge[1], live[0]), receiver_keys=(live[1], bridge[0]),
            sender_prefix=("ip", "netns", "exec", scanner),
            receiver_prefix=("ip", "netns", "exec", other))) as setting:
        scan_through(setting, line_down(other), cut_s, "network namespaces")
