"""A simulated scanner through the real chain: bridge, broker, live program, decoder and player, all as processes."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realtime.bundle import Bundle, read_bundle
from realtime.config import LiveSettings
from realtime.errors import SessionError
from realtime.rehearsal import Rehearsal, rehearse
from realtime.session.summary import Figures
from scanner_bridge.export import export_run
from scanner_bridge.volume import RunHeader, Volume

N_VOLUMES = 24
SPEED = 8.0
_NOISE = 0.01
_SEED = 3


class ReferenceScanner:
    """A scanner that finds in the bore, volume after volume, what the bundle's reference shows, and noise.

    Parameters
    ----------
    bundle : Bundle
        Whose grid and repetition time it scans with.
    n_volumes : int
        How many it acquires.
    """

    def __init__(self, bundle: Bundle, n_volumes: int = N_VOLUMES) -> None:
        self._reference = bundle.reference
        nx, ny, nz = bundle.reference.shape
        tr_s = bundle.manifest.preprocessing.tr_s
        self.header = RunHeader("dry-run", (nx, ny, nz), "<i2", bundle.affine, tr_s, n_volumes)

    def __iter__(self) -> Iterator[Volume]:
        """Its volumes."""
        rng = np.random.default_rng(_SEED)
        brightest = float(self._reference.max()) or 1.0
        for index in range(self.header.n_volumes or 0):
            noise = _NOISE * rng.standard_normal(self._reference.shape)
            noisy = 3000.0 * (self._reference / brightest + noise)
            yield Volume(index, np.clip(noisy, 0, 32767).astype(np.int16), self.header.affine, self.header.tr_s,
                         self.header.run_id)

    def close(self) -> None:
        """Nothing is held."""


def dry_run(settings: LiveSettings) -> str:
    """What became of the simulated run, in a sentence.

    Plays to no card: what the person hears is the sound check's to try.

    Raises
    ------
    SessionError
        A volume was lost, was not decoded or came too late, or a program of the chain refused; its own sentence is
        passed on.
    """
    bundle = read_bundle(settings.bundle)
    with tempfile.TemporaryDirectory(prefix="innerear-dry-run-") as scratch:
        source = Path(scratch) / "run_bold.nii"
        export_run(ReferenceScanner(bundle), source)
        events = Path(scratch) / "events.tsv"
        tr_s = bundle.manifest.preprocessing.tr_s
        events.write_text(f"onset\tduration\ttrial_type\n0\t{N_VOLUMES * tr_s:g}\tdry-run\n")
        plan = Rehearsal(source, settings.bundle, settings.catalogue, Path(scratch) / "session", events, SPEED, "null")
        decided: list[bool] = []
        figures = asyncio.run(rehearse(plan, lambda topic, payload: decided.append(
            payload.get("confidence") is not None) if topic == "step" else None))
    return _judge(figures, sum(decided), tr_s)


def _judge(figures: Figures, n_decoded: int, tr_s: float) -> str:
    latency = figures["latency_ms"]["volume_to_decision"]
    lost = N_VOLUMES - figures["volumes_journaled"] + figures["gaps"] + figures["rejected"]
    if lost:
        raise SessionError(f"of {N_VOLUMES} simulated volumes {lost} were lost or refused between bridge and decoder: "
                           "look at `innerear bridge serve` and at other programs on this machine")
    if not n_decoded:
        raise SessionError(f"{N_VOLUMES} simulated volumes arrived and none was decoded: the bundle waits longer than "
                           f"{N_VOLUMES * tr_s:g} s; train it with another lag")
    if latency["p99"] is not None and latency["p99"] > 1000 * tr_s:
        raise SessionError(f"a decision takes {latency['p99']:.0f} ms, more than the TR of {1000 * tr_s:.0f} ms: close "
                           "other programs on this machine")
    speed = "" if latency["p50"] is None else f", {latency['p50']:.0f} ms after a volume was due"
    return f"{N_VOLUMES} simulated volumes passed bridge, broker, decoder and player; {n_decoded} were decoded{speed}"
