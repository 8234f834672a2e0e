"""What generated music costs and how well it says what it was asked to: one function per bar.

Quality is scored by an embedder that had no part in generating: scored by the one that conditions, it
would be circular. Every accuracy stands beside the same with targets permuted.
"""

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from offline_training.corpus import index_corpus, read_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus
from offline_training.demo import DemoSettings
from offline_training.embedders import SHIPPED, open_embedder, open_scorer
from offline_training.fit import fit_decoder
from offline_training.generator.fidelity import Make, embeddings, fidelity, measure, meet
from offline_training.generator.makers import makers
from offline_training.generator.page import WANTED
from offline_training.generator.pieces import HEARD_S
from offline_training.simulation.music import Music
from offline_training.simulation.session_responses import ResponseSettings, simulate_responses
from realtime.config import load_settings
from realtime.generators.conditioning import snap
from realtime.generators.settings import GeneratorSettings
from realtime.messages import Condition
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.playback.settings import RATE_HZ

Figures = dict[str, dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = SHIPPED / "generator-synth-128"
CONDITIONER, SCORER = "synth-128", "scorer-64"
_SEED = 0


@dataclass(frozen=True)
class Timing:
    """Of one generator, one thread; warm.

    Attributes
    ----------
    real_time_factor : float
        Processor seconds per second of music.
    first_chunk_ms, first_chunk_p95_ms : float
        From a fresh generator's condition to its first chunk, median and 95th percentile.
    seconds, n_starts : float, int
        Of music, and of first chunks.
    """

    real_time_factor: float
    first_chunk_ms: float
    first_chunk_p95_ms: float
    seconds: float
    n_starts: int


def cost(make: Make, conditions: NDArray[np.float32], seconds: float = 20.0) -> Timing:
    """Processor time of music under each condition in turn, and of first chunks."""
    starts, spent, made = [], 0.0, 0
    for number, embedding in enumerate(conditions):
        generator = make(number)
        begun = time.process_time()
        generator.condition(Condition(0, 0, embedding))
        generator.chunk()
        starts.append(1000 * (time.process_time() - begun))
        gc.collect()
        begun = time.process_time()
        frames = 0
        while frames < seconds / len(conditions) * RATE_HZ:
            frames += len(generator.chunk().frames)
        spent += time.process_time() - begun
        made += frames
    return Timing(spent * RATE_HZ / made, float(np.median(starts[1:])), float(np.percentile(starts[1:], 95)),
                  made / RATE_HZ, len(starts) - 1)


def cost_bars(folder: Path = FOLDER) -> Figures:
    """Real-time factor and first chunk of the generators in a folder."""
    figures: Figures = {}
    conditions = np.random.default_rng(_SEED).standard_normal((21, 128)).astype(np.float32)
    for name, make in makers(folder).items():
        timing = cost(make, conditions, 60.0)
        figures[f"generator_{name}_real_time_factor"] = {"value": timing.real_time_factor, "unit": "of one core",
                                                         "n": round(timing.seconds), "bar": 0.05}
        figures[f"generator_{name}_first_chunk_ms"] = {"value": timing.first_chunk_ms, "unit": "ms median",
                                                       "p95": timing.first_chunk_p95_ms, "n": timing.n_starts,
                                                       "bar": 30.0}
    return figures


def fidelity_bars(folder: Path = FOLDER, n: int = 100) -> Figures:
    """Identification and class agreement of music under clean embeddings of unseen clips, by the second embedder."""
    found = measure(makers(folder), open_embedder(CONDITIONER), open_scorer(SCORER), n)
    return {f"generated_{population}_{name}_{kind}": figure | {"unit": "share", "bar": WANTED[kind], "scorer": SCORER}
            for population, by_name in found.items() for name, figures in by_name.items()
            for kind, figure in figures.items()}


def single_trial_bars(scratch: Path, folder: Path = FOLDER, seed: int = 0) -> Figures:
    """Identification of what is retrieved and what is generated from single trials, decoded by a real ridge.

    The demo's person hears 100 clips of a corpus once each and responds in the conditioner's space; predictions are
    those of the folds that did not see the trial.

    Parameters
    ----------
    scratch : Path
        Folder for the corpus.
    folder : Path
        Of the generators.
    seed : int
        Of music, person and noise.
    """
    demo = load_settings(ROOT / "configs" / "demo.toml", DemoSettings)
    session = demo.simulation
    n_training = session.n_training_runs * session.blocks_per_training_run
    n_each = n_training + session.n_test_runs + session.extra_clips_per_genre
    build_corpus(scratch, CorpusSettings(n_each, n_each - n_training, seed=seed))
    index_corpus(scratch, open_embedder(CONDITIONER))
    responses = simulate_responses(ResponseSettings(session), seed, Music.of(read_corpus(scratch))).responses
    catalogue, scorer = read_catalogue(scratch, check_audio=False), open_scorer(SCORER)
    fitted = fit_decoder(responses, catalogue.embedding, demo.training.fit)
    said, heard = fitted.predictions.astype(np.float32), list(fitted.trials.clip_ids)
    found = [catalogue.search(row, 1)[0].clip.clip_id for row in said]
    known = {clip_id: _clip(catalogue, clip_id) for clip_id in sorted({*heard, *found})}
    rows = dict(zip(known, embeddings(list(known.values()), scorer), strict=True))
    wanted = np.array([rows[clip_id] for clip_id in heard])
    got = {"retrieved": np.array([rows[clip_id] for clip_id in found])}
    snapped = np.array([snap(row, catalogue, GeneratorSettings().snap) for row in said])
    got |= {name: embeddings(meet(make, snapped), scorer) for name, make in makers(folder).items()}
    figures = {f"single_trial_{name}_{kind}": figure | {"unit": "share", "scorer": SCORER}
               for name, music in got.items() for kind, figure in fidelity(music, wanted, scorer, heard).items()}
    least = figures["single_trial_retrieved_identification"]["value"] - 0.05
    for name in makers(folder):
        figures[f"single_trial_{name}_identification"]["bar"] = round(least, 4)
    figures["single_trial_decoded_identification"] = {"value": fitted.identification, "n": len(heard), "unit": "share",
                                                      "scorer": CONDITIONER}
    return figures


def _clip(catalogue: Catalogue, clip_id: str) -> NDArray[np.float32]:
    sound, _ = soundfile.read(catalogue.clip(clip_id).path, dtype="float32", frames=round(HEARD_S * RATE_HZ))
    return np.ascontiguousarray(sound.mean(axis=1))
