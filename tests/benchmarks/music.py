"""The bars of the music: one function each, a key per bar with its value, n and unit.

Run with `innerear bench music --json FILE`, `--only timing` on a machine that does nothing else. Times are of one
thread; methods that are compared answer the same queries in turns, so that other load on the machine hits both.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from offline_training.corpus import index_corpus, read_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus, fit_and_index
from offline_training.embedders import open_embedder
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.selection import SelectionSettings
from realtime.ports import Embedder
from tests.benchmarks import music_generators, music_playback
from tests.benchmarks.music_embedder import embedder_hop
from tests.benchmarks.music_flicker import ceiling, follow, isotropic, ridge_streams

Figures = dict[str, dict[str, Any]]
Measure = Callable[[], Figures]
ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data" / "audio"
N_CLIPS, DIM, TOP = 106_574, 128, 10


def exact_search(n_queries: int = 300) -> Figures:
    """The ten best of FMA's 106,574 tracks for one vector: ours, and faiss's flat index."""
    from realtime.music.index_faiss import FaissIndex, make_faiss

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, DIM))
    rows = (centres[rng.integers(0, 500, N_CLIPS)] + 0.7 * rng.standard_normal((N_CLIPS, DIM))).astype(np.float32)
    catalogue = Catalogue(EmbeddingSpace("benchmark", DIM, ""), [Clip(f"{n:06}", Path("x")) for n in range(N_CLIPS)],
                          rows, rows.mean(axis=0))
    flat = make_faiss(catalogue.unit)
    queries = rows[rng.integers(0, N_CLIPS, n_queries)] + rng.standard_normal((n_queries, DIM)).astype(np.float32)
    through_port = FaissIndex(catalogue, flat)
    methods: dict[str, Callable[[NDArray[np.float32]], Any]] = {
        "ours": lambda query: catalogue.search(query, TOP),
        "faiss_flat": lambda query: flat.search(query[None], TOP),
    }
    for query in queries[:5]:
        assert catalogue.search(query, TOP) == through_port.search(query, TOP)
    times: dict[str, list[float]] = {name: [] for name in methods}
    for query in queries:
        for name, search in methods.items():
            begin = time.perf_counter()
            search(query)
            times[name].append(1e3 * (time.perf_counter() - begin))
    figures: Figures = {}
    for name, taken in times.items():
        figures[f"exact_search_{name}_ms"] = {"value": float(np.percentile(taken, 99)), "unit": "ms p99",
                                              "n": n_queries, "median": float(np.median(taken)), "min": min(taken)}
    ratio = float(np.median(times["ours"]) / np.median(times["faiss_flat"]))
    figures["exact_search_ratio_to_faiss"] = {"value": ratio, "unit": "of medians", "n": n_queries, "bar": 1.5}
    figures["exact_search_ours_ms"]["bar"] = 8.0
    return figures


def same_recording(embedder: Embedder, window_s: float = 10.0, hop_s: float = 5.0) -> Figures:
    """Of windows of real recordings, the share whose nearest window elsewhere is of the same recording."""
    vectors, names, starts = [], [], []
    for path in sorted(RECORDINGS.glob("*.ogg")):
        audio, rate_hz = soundfile.read(path, dtype="float32")
        for begin in range(0, len(audio) - round(window_s * rate_hz) + 1, round(hop_s * rate_hz)):
            vectors.append(embedder.embed(audio[begin : begin + round(window_s * rate_hz)], rate_hz))
            names.append(path.stem)
            starts.append(begin / rate_hz)
    rows, who, when = np.array(vectors), np.array(names), np.array(starts)
    rows = rows - rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    same = who[:, None] == who[None]
    elsewhere = ~same | (np.abs(when[:, None] - when[None]) >= window_s)
    can = (same & elsewhere).any(axis=1)
    nearest = np.where(elsewhere, rows @ rows.T, -np.inf).argmax(axis=1)
    chance = float(np.mean([(same[k] & elsewhere[k]).sum() / elsewhere[k].sum() for k in np.flatnonzero(can)]))
    return {"same_recording": {"value": float((who[nearest] == who)[can].mean()), "unit": "share", "n": int(can.sum()),
                               "chance": chance, "bar": 0.9, "space": embedder.space.name}}


@dataclass(frozen=True)
class Extent:
    """How long everything is measured.

    Attributes
    ----------
    clips_per_genre, flicker_seeds, flicker_targets : int
        Of the corpus that is selected from, and of the streams that are followed in it.
    queries, hops : int
    soak_minutes : float
    stops, changes, blocks : int
        As `music_playback.measure`.
    generated : int
        Targets that generators are to meet.
    """

    clips_per_genre: int = 60
    flicker_seeds: int = 20
    flicker_targets: int = 60
    queries: int = 300
    hops: int = 500
    soak_minutes: float = 10.0
    stops: int = 1000
    changes: int = 200
    blocks: int = 10_000_000
    generated: int = 100


WHOLE = Extent()
QUICK = Extent(30, 4, 30, 100, 100, 0.5, 60, 30, 20_000, 20)


def flicker_bars(extent: Extent) -> Figures:
    """Switches a minute and time in the right genre, for isotropic errors and a ridge's, in two spaces."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="innerear-bench-") as scratch:
        folder = Path(scratch) / "corpus"
        build_corpus(folder, CorpusSettings(extent.clips_per_genre, 0, seed=77))
        index_corpus(folder, open_embedder("synth-128"))
        corpora = {"synth128": read_catalogue(folder, check_audio=False)}
        fit_and_index(read_corpus(folder), 32)
        corpora["logmel32"] = read_catalogue(folder, check_audio=False)
        for space, corpus in corpora.items():
            for cosine, most, least in ((0.70, 4.0, 0.95), (0.45, 6.0, 0.93)):
                figures |= _flicker_figures(f"flicker_{round(100 * cosine)}", space, corpus, cosine, (most, least),
                                            extent)
    return figures


def _flicker_figures(name: str, space: str, corpus: Catalogue, cosine: float, bars: tuple[float, float],
                     extent: Extent) -> Figures:
    seeds, n_targets = range(extent.flicker_seeds), extent.flicker_targets
    settings = SelectionSettings()
    ridge = ridge_streams(corpus, cosine, n_targets, seeds, n_training=2 * len(corpus.clips) // 3)
    even = [isotropic(corpus, cosine, n_targets, seed) for seed in seeds]
    followed = {"ridge": [follow(corpus, streams, settings) for streams in ridge],
                "all_known": [ceiling(corpus, streams.targets, streams.all_known) for streams in ridge],
                "vectors_known": [ceiling(corpus, streams.targets, streams.vectors_known) for streams in ridge],
                "isotropic": [follow(corpus, streams, settings) for streams in even],
                "isotropic_known": [ceiling(corpus, streams.targets, streams.vectors_known) for streams in even]}
    reached = float(np.mean([streams.cosine for streams in ridge]))
    figures: Figures = {}
    for kind, found in followed.items():
        about: dict[str, Any] = {"n": len(found) * n_targets, "seeds": len(found), "clips": len(corpus.clips)}
        if kind == "ridge":
            about["cosine"] = reached
        for what, values, bar in (("switches_per_minute", [f.switches_per_minute for f in found], bars[0]),
                                  ("right_genre", [f.right_genre for f in found], bars[1])):
            unit = "1/min" if what == "switches_per_minute" else "share of time"
            interval = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
            figures[f"{name}_{kind}_{space}_{what}"] = {
                "value": float(np.mean(values)), "unit": unit, "interval_95": interval, **about,
                **({} if kind.endswith("_known") else {"bar": bar}),
                **({"chance": 0.1} if what == "right_genre" else {})}
    return figures


def _single_trials() -> Figures:
    with tempfile.TemporaryDirectory(prefix="innerear-bench-") as scratch:
        return music_generators.single_trial_bars(Path(scratch) / "own")


def parts(extent: Extent) -> dict[str, dict[str, Measure]]:
    """What can be measured, by name, in two groups: `timing` wants a machine that does nothing else."""
    timing: dict[str, Measure] = {
        "search": lambda: exact_search(extent.queries),
        "embedder": lambda: embedder_hop(extent.hops),
        "generator_cost": music_generators.cost_bars,
        "chain": music_playback.chain_load,
        "audible": lambda: music_playback.condition_to_audible(extent.changes),
        "stop": lambda: music_playback.both_stops(extent.stops),
        "soak": lambda: music_playback.soak(extent.soak_minutes)}
    quality: dict[str, Measure] = {
        "recordings": lambda: same_recording(open_embedder("synth-128")) if RECORDINGS.is_dir() else {},
        "flicker": lambda: flicker_bars(extent),
        "fidelity": lambda: music_generators.fidelity_bars(n=extent.generated),
        "single_trial": _single_trials,
        "fuzz": lambda: music_playback.fuzzed(extent.blocks)}
    return {"timing": timing, "quality": quality}


def names() -> tuple[str, ...]:
    """Groups and parts that `only` may name."""
    return tuple(name for group, members in parts(WHOLE).items() for name in (group, *members))


def measure(extent: Extent, only: str, tick: Callable[[str], None]) -> dict[str, Any]:
    """The bars, ready for JSON; `only` names a group or a part, "" for all."""
    load_before, began_s, figures = os.getloadavg()[0], time.monotonic(), {}
    for group, members in parts(extent).items():
        for name, part in members.items():
            if only in ("", group, name):
                tick(f"measuring {name}")
                figures |= part()
    return {"benchmark": "music", "when": datetime.now(UTC).isoformat(timespec="seconds"), "quick": extent is not WHOLE,
            "only": only, "took_s": time.monotonic() - began_s,
            "machine": platform.machine(), "cores": os.cpu_count(), "load_before": load_before,
            "load_after": os.getloadavg()[0], "threads": 1, "python": platform.python_version(),
            "numpy": np.__version__, **figures}


def show(report: dict[str, Any]) -> None:
    """Print the bars as a table."""
    table = Table(title=f"music (load {report['load_before']:.1f} to {report['load_after']:.1f} on "
                        f"{report['cores']} cores)")
    for heading in ("what", "value", "unit", "bar", "n"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right",
                         overflow="fold" if heading == "what" else "ellipsis")
    for name, row in report.items():
        if isinstance(row, dict) and "value" in row:
            table.add_row(name, f"{row['value']:.3g}", row["unit"], f"{row.get('bar', '')}", str(row["n"]))
    Console().print(table)
