"""Both ends of the road as processes, at the test's command: a source that cannot repeat, and a store."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scanner_bridge.volume import Volume
from scanner_bridge.wire import decode, unpack
from tests.bridge_receiver import read_log

ROOT = Path(__file__).resolve().parents[1]


def spawn(script: str, *arguments: object, complaints: Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, str(ROOT / "tests" / script), *map(str, arguments)]
    with complaints.open("ab") as stderr:
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, bufsize=1,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)


def said(process: subprocess.Popen[str]) -> str:
    """The next line; empty when the process is gone."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@dataclass
class Road:
    """One bridge and one receiver, each started again as often as it is killed."""

    folder: Path
    endpoint: str
    bridge_endpoint: str = ""
    sender_keys: tuple[Path, ...] = ()
    receiver_keys: tuple[Path, ...] = ()
    sender_prefix: tuple[str, ...] = ()
    receiver_prefix: tuple[str, ...] = ()
    n_taken: int = 0
    catch_ups_s: list[float] = field(default_factory=list)
    sender: subprocess.Popen[str] = field(init=False)
    receiver: subprocess.Popen[str] = field(init=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def complaints(self) -> Path:
        return self.folder / "complaints"

    def start_sender(self) -> None:
        self.sender = spawn("bridge_sender.py", self.bridge_endpoint or self.endpoint, self.folder / "spool",
                            *self.sender_keys, complaints=self.complaints, prefix=self.sender_prefix)

    def start_receiver(self) -> None:
        self.receiver = spawn("bridge_receiver.py", self.endpoint, self.log, *self.receiver_keys,
                              complaints=self.complaints, prefix=self.receiver_prefix)

    def give(self) -> None:
        """Offer the next volume; whoever offers one knows that it was taken only when the bridge says so."""
        if self.order(str(self.n_taken)):
            self.n_taken += 1

    def order(self, text: str) -> bool:
        """Whether the bridge did it before it died."""
        assert self.sender.stdin is not None
        try:
            self.sender.stdin.write(f"{text}\n")
        except BrokenPipeError:
            return False
        return said(self.sender) == text

    def catch_up(self) -> None:
        """Wait until all that was taken is stored, and keep how long that took."""
        begun_s = time.monotonic()
        assert self.order("flush"), self.complaints.read_text()
        self.catch_ups_s.append(time.monotonic() - begun_s)

    def stored(self) -> list[int]:
        """Indices of the volumes in the receiver's log, as they lie there."""
        messages = [decode(unpack(blob)) for _, blob in read_log(self.log)]
        return [message.index for message in messages if isinstance(message, Volume)]


@contextmanager
def road(setting: Road) -> Iterator[Road]:
    """Both ends running; neither outlives the test."""
    setting.start_receiver()
    setting.start_sender()
    try:
        assert (said(setting.receiver), said(setting.sender)) == ("ready", "ready")
        yield setting
    finally:
        for process in (setting.sender, setting.receiver):
            process.kill()
            process.communicate()
