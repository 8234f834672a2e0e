"""The real PortAudio on a card that ALSA pretends: a pipe whose reader takes sound at the pace of one."""

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ALSA_CONF = """
</usr/share/alsa/alsa.conf>
pcm.!default {{ type file slave.pcm nothing file "|{reader}" format raw }}
pcm.nothing {{ type null }}
"""

READER = """
import os, sys, time
bytes_per_s, start_s, taken, out = 48000 * 2 * {sample_bytes}, time.monotonic(), 0, open(sys.argv[1], "wb")
open(sys.argv[1] + ".pid", "w").write(str(os.getpid()))
while (block := os.read(0, 4096)):
    out.write(block); out.flush()
    taken += len(block)
    time.sleep(max(0.0, start_s + taken / bytes_per_s - time.monotonic()))
"""

SESSION = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from realtime.playback.gate import Gate
from realtime.playback.output import Output
from realtime.playback.settings import PlayerSettings
folder = Path(sys.argv[1])
settings = PlayerSettings(played_wav=folder / "played.wav", sink="device")
output = Output(settings, Gate(48000), np.full((4800, 2), 0.25, np.float32), retry_s=0.2)
block = np.full((480, 2), 0.25, np.float32)
print("opened", output.drain.device, flush=True)
for _ in range(100):
    output.write(block)
if sys.argv[2] == "lost":
    os.kill(int((folder / "heard.raw.pid").read_text()), signal.SIGKILL)
else:
    output.stop()
while output.kind == "device":
    output.write(block)
print("failed", *output.take_failures(), flush=True)
before = output.outlet.stats().frames_played
for _ in range(60):
    output.write(block)
print("time goes on", output.outlet.stats().frames_played > before, flush=True)
output._gate.rearm()
while output.kind != "device":
    output.write(block)
print("recovered", output.take_recovered(), flush=True)
for _ in range(60):
    output.write(block)
output.close()
"""


@pytest.fixture
def alsa(tmp_path: Path) -> dict[str, str]:
    """An environment in which the default card is a pipe with a clock."""
    if ctypes.util.find_library("portaudio") is None:
        pytest.skip("PortAudio is not installed here (libportaudio2)")
    if not Path("/usr/share/alsa/alsa.conf").exists():
        pytest.skip("ALSA's own configuration is not installed here (libasound2-data)")
    reader = tmp_path / "reader.py"
    reader.write_text(READER.format(sample_bytes=4))
    conf = tmp_path / "asound.conf"
    conf.write_text(ALSA_CONF.format(reader=f"{sys.executable} {reader} {tmp_path / 'heard.raw'}"))
    return os.environ | {"ALSA_CONFIG_PATH": str(conf), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


@pytest.mark.parametrize("how", ["lost", "stopped"])
def test_a_card_that_goes_away_is_replaced_by_a_clock_and_taken_again(
    how: str, alsa: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(tmp_path), how], env=alsa, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if not line.startswith("ALSA"))
    assert said["opened"] == "default"
    assert ("STOP" in said["failed"]) == (how == "stopped")
    assert said["time"] == "goes on True"
    assert said["recovered"] == "default"
