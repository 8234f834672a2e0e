"""What a blinded session tells: in every arm the same messages, without what an arm changes, at times no arm moves.

An arm may change what is decoded, from which voxels, and what plays. Whatever follows from these is left out by a list
of what may stay, so that a field that is added later is hidden until somebody has thought about it. Pure.
"""

import math
from typing import Any

RELEASE_S = 0.25
"""A volume's messages leave so long after it came: later than any arm decides, so that no arm is known by its pace."""

_OPEN: dict[str, frozenset[str]] = {
    "step": frozenset({"sequence", "volume", "status", "fd_mm", "six_motions", "trial", "n", "phase", "masked",
                       "n_volumes", "gaps", "rejected", "censored", "tr_s", "attempt", "received_ms", "journaled_ms"}),
    "state": frozenset({"state", "attempt", "n_volumes", "tr_s", "status", "reason", "gaps", "source"}),
    "about": frozenset({"protocol", "subject", "session", "n_clips", "lag_volumes", "window_volumes", "onset_volumes",
                        "software", "wait_for_start", "stale_after_volumes", "blinded"}),
    "slices": frozenset({"volume", "planes"}),
    "sound": frozenset({"event", "sink", "frames_played", "underruns", "peak", "peak_dbfs", "rms_dbfs",
                        "momentary_lufs", "short_term_lufs", "level_dba", "dose_percent", "drift_ppm",
                        "bad_chunks", "limited_chunks", "device_underruns", "recording_lost_frames", "stopped",
                        "muted", "volume_db"}),
    "link": frozenset({"text", "bridges", "tried", "let_in", "refused"}),
    "alarm": frozenset({"text", "severity"}),
}


def blinded(topic: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The message with the same keys, and nothing in those that an arm may change."""
    stays = _OPEN.get(topic, frozenset())
    shown = {key: value if key in stays else _nothing(value) for key, value in payload.items()}
    if topic == "step" and payload.get("status") in ("GAP", "REJECTED"):
        shown["reason"] = payload["reason"]  # of the volume, and of no decision
    return shown


def release_s(received_s: float, now_s: float) -> float:
    """When a message about what came at `received_s` may leave: the first multiple of `RELEASE_S` after it."""
    periods = max(math.ceil((now_s - received_s) / RELEASE_S), 1)
    return received_s + periods * RELEASE_S


def _nothing(value: Any) -> Any:
    """Of the value's kind, and empty; numbers and what is missing are both None, as either may come."""
    if isinstance(value, str):
        return ""
    if isinstance(value, list | tuple):
        return []
    return {} if isinstance(value, dict) else None
