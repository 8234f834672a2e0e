"""The bars of the music: one function each, a key per bar with its value, n and unit.

Run with `innerear bench music --json FILE`. Times are of one thread; methods that are compared
answer the same queries in turns, so that other load on the machine hits both.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from offline_training.corpus import index_corpus, read_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus
from offline_training.demo import DemoSettings
from offline_training.embedders import open_embedder
from offline_training.runs import read_dataset
from offline_training.simulation.dataset import simulate_session
from offline_training.targets import LogMelEmbedder
from offline_training.train import train
from offline_training.workers import worker_processes
from realtime.config import load_settings
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.selection import SelectionSettings
from realtime.ports import Embedder
from tests.benchmarks import music_playback
from tests.benchmarks.music_embedder import embedder_hop
from tests.benchmarks.music_flicker import Flicker, Residuals, flicker

Figures = dict[str, dict[str, Any]]
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


def flicker_bars(dataset: Path, clips_per_genre: int = 60, n_targets: int = 300) -> Figures:
    """Switches a minute and time in the right genre, with the errors that a trained ridge really makes."""
    with tempfile.TemporaryDirectory(prefix="innerear-bench-") as scratch, worker_processes() as executor:
        residuals = ridge_residuals(dataset, Path(scratch) / "bundle", executor)
        build_corpus(Path(scratch) / "corpus", CorpusSettings(clips_per_genre, 0, seed=77))
        index_corpus(Path(scratch) / "corpus", LogMelEmbedder.load(dataset / "stimuli" / "embedder.npz"))
        corpus = read_catalogue(Path(scratch) / "corpus", check_audio=False)
        figures: Figures = {}
        for cosine, most, least in ((0.70, 4.0, 0.95), (0.45, 6.0, 0.93)):
            found: Flicker = flicker(corpus, residuals, cosine, SelectionSettings(), n_targets)
            name = f"flicker_{round(100 * cosine)}"
            figures[f"{name}_switches_per_minute"] = {"value": found.switches_per_minute, "unit": "1/min",
                                                      "n": n_targets, "bar": most}
            figures[f"{name}_right_genre"] = {"value": found.right_genre, "unit": "share of time", "n": n_targets,
                                              "bar": least, "chance": 0.1, "cosine": found.cosine}
    return figures


def ridge_residuals(dataset: Path, bundle: Path, executor: ProcessPoolExecutor) -> Residuals:
    """Out-of-fold predictions of a decoder trained on a recorded or simulated session, and what they should be."""
    runs, catalogue = read_dataset(dataset), read_catalogue(dataset / "stimuli")
    demo = load_settings(ROOT / "configs" / "demo.toml", DemoSettings)
    trained = train(runs, catalogue, bundle, executor, demo.training)
    heard = [event.clip_id for run in runs.training for event in run.events if event.clip_id and not event.is_dummy]
    if len(heard) != len(trained.fit.predictions):
        raise SystemExit(f"{len(heard)} trials were heard, {len(trained.fit.predictions)} could be used; give a "
                         "session without lost trials")
    targets = np.stack([catalogue.embedding(clip_id) for clip_id in heard])
    return Residuals.of(trained.fit.predictions, targets)


def measure(dataset: Path | None, tick: Callable[[str], None]) -> dict[str, Any]:
    """All bars, ready for JSON; without a data set of `innerear simulate` or a demo, one is simulated first."""
    load_before = os.getloadavg()[0]
    tick("searching")
    figures = exact_search()
    tick("embedding hop by hop")
    figures |= embedder_hop()
    with tempfile.TemporaryDirectory(prefix="innerear-bench-") as scratch:
        if dataset is None:
            tick("simulating a session")
            dataset = Path(scratch) / "dataset"
            simulate_session(dataset, load_settings(ROOT / "configs" / "demo.toml", DemoSettings).simulation)
        read_corpus(dataset / "stimuli")
        if RECORDINGS.is_dir():
            tick("listening to recordings")
            figures |= same_recording(open_embedder("synth-128"))
        tick("training, and following a decoder")
        figures |= flicker_bars(dataset)
    tick("playing for ten minutes, stopping a thousand times, fuzzing ten million blocks: about half an hour")
    figures |= music_playback.measure()
    return {"benchmark": "music", "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.machine(), "cores": os.cpu_count(), "load_before": load_before,
            "load_after": os.getloadavg()[0], "threads": 1, "python": platform.python_version(),
            "numpy": np.__version__, **figures}


def show(report: dict[str, Any]) -> None:
    """Print the bars as a table."""
    table = Table(title=f"music (load {report['load_before']:.1f} to {report['load_after']:.1f} on "
                        f"{report['cores']} cores)")
    for heading in ("what", "value", "unit", "bar", "n"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right")
    for name, row in report.items():
        if isinstance(row, dict) and "value" in row:
            table.add_row(name, f"{row['value']:.3g}", row["unit"], f"{row.get('bar', '')}", str(row["n"]))
    Console().print(table)
