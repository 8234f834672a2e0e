"""A session's figures: printed for people, written for programs."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from realtime.atomic import write_json
from realtime.console.findings import Finding
from scanner_bridge.complaints import fail


def write_figures(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures that a command was asked for with --json; a place that cannot be written ends the command."""
    if path is None:
        return
    try:
        write_json(path, figures)
    except OSError as exc:
        fail(f"the figures cannot be written to {path} ({exc.strerror}); name a file in a folder that exists")


def print_summary(figures: dict[str, Any]) -> None:
    """The session's figures for people."""
    latency = figures["latency_ms"]
    lost = (figures["volumes_sent"] or 0) - figures["volumes_journaled"]
    how = f"{figures['status']}: {figures['reason']}" if figures["reason"] else figures["status"]
    lines = [
        Text.assemble((f"Session {figures['session_dir']}", "bold"), f" ({how})"),
        f"  volumes    {figures['volumes_journaled']} of {figures['volumes_sent']} sent are in the journal "
        f"({lost} lost); {figures['gaps']} gaps, {figures['rejected']} rejected, {figures['censored']} censored for "
        "motion",
        f"  decoding   {figures['verdict']}", *_coverage(figures["coverage"], figures["moved_volumes"]),
        *_segments(figures["segments"]),
        *[f"  {name:10} {_latency(latency[key])}" for name, key in (
            ("embedding", "volume_to_embedding"), ("decision", "volume_to_decision"), ("sound", "volume_to_sound"))],
        f"  music      {figures['switches']} cues, {figures['underruns']} underruns, sink {figures['sink']!r}: "
        f"{figures['played_wav']}",
    ]
    for line in lines:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)


def print_finding(finding: Finding, as_line: bool = False) -> None:
    """A link of the preflight, for people (what is broken on standard error), or as a line of JSON."""
    if as_line:
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
        sys.stdout.flush()
        return
    sign = {"good": "✓", "bad": "✗"}.get(finding.mark, "·")
    Console(stderr=finding.mark == "bad").print(f"{sign} {finding.link:15}{finding.sentence}", soft_wrap=True,
                                                highlight=False, markup=False)


def _coverage(coverage: dict[str, Any], moved: dict[str, int]) -> list[str]:
    """What abstaining and moving left of the trials, where either was at work."""
    lines = []
    if coverage["least_confidence"] > 0.0 and coverage["trials"]:
        kept = coverage["trials"] - coverage["abstained"]
        score = coverage["identification_accuracy"]
        right = "" if score is None else f"; identification of the other {kept}: {score:.2f}"
        lines.append(f"  abstained  in {coverage['abstained']} of {coverage['trials']} trials, the "
                     f"{coverage['sure_of']} being less than {coverage['least_confidence']:g} probable{right}")
    if moved:
        lines.append(f"  motion     {sum(moved.values())} volumes of {len(moved)} trials were left out for motion")
    return lines


def _segments(segments: list[dict[str, Any]]) -> list[str]:
    """What a free run was cut into."""
    if not segments:
        return []
    decided = sum(not segment["abstained"] for segment in segments)
    return [f"  free run   {len(segments)} segments, {decided} of them decided"]


def _latency(values: dict[str, Any]) -> str:
    if not values["n"]:
        return "no figures: nothing got that far before the end, or the bridge ran by another host's clock"
    return (f"{values['p50']:.0f} ms median, {values['p99']:.0f} ms p99, {values['max']:.0f} ms at most after the "
            f"volume was due (n = {values['n']})")
