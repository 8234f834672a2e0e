"""The corpus that needs no music: clips of ten genres by the project's own synthesiser.

Files and entries are those of `offline_training.corpus`; every clip is whole bars of 48 kHz stereo.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from offline_training.corpus import Corpus, CorpusClip, fit_and_index, in_threads, write_entries
from offline_training.errors import DatasetError
from offline_training.loudness import gain_db
from offline_training.progress import Progress
from realtime.music.synth import ClipSpec, render
from realtime.music.synth_styles import GENRES
from realtime.playback.settings import RATE_HZ


@dataclass(frozen=True)
class CorpusSettings:
    """What to make.

    Attributes
    ----------
    n_per_genre : int
        Clips of each of the ten genres.
    n_test_per_genre : int
        How many of them are kept for testing; no model may be fitted to those.
    duration_s : float
        What a listener hears of a clip; the file is longer, up to the next whole bar.
    borrow : float
        Probability that a clip has one part from another genre: genres should be clear, not trivial.
    rate_hz : int
        Frames per second.
    seed : int
        Of all music in the corpus.
    """

    n_per_genre: int = 12
    n_test_per_genre: int = 2
    duration_s: float = 10.0
    borrow: float = 0.3
    rate_hz: int = RATE_HZ
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.n_per_genre <= 10000:
            problems.append(f"n_per_genre is {self.n_per_genre}, wanted 1 to 10000")
        if not 0 <= self.n_test_per_genre <= self.n_per_genre:
            problems.append(f"n_test_per_genre is {self.n_test_per_genre}, wanted 0 to {self.n_per_genre}")
        if not 2 <= self.duration_s <= 600:
            problems.append(f"duration_s is {self.duration_s:g}, wanted 2 to 600")
        if not 0 <= self.borrow <= 1:
            problems.append(f"borrow is {self.borrow:g}, wanted 0 to 1")
        if not 16000 <= self.rate_hz <= 192000:
            problems.append(f"rate_hz is {self.rate_hz}, wanted 16000 to 192000")
        if self.seed < 0:
            problems.append(f"seed is {self.seed}, wanted 0 or more")
        if problems:
            raise DatasetError(f"no corpus can be made with these settings: {'; '.join(problems)}; correct them")


def make_corpus(folder: Path, settings: CorpusSettings, dim: int = 32, progress: Progress | None = None) -> Corpus:
    """Build a corpus, fit an embedder on its training clips and index it with that: the whole way.

    `dim` is lowered to one less than the number of training clips where there are few.
    """
    return fit_and_index(build_corpus(folder, settings, progress), dim, progress)


def build_corpus(folder: Path, settings: CorpusSettings, progress: Progress | None = None) -> Corpus:
    """Render the clips of a new corpus; same settings, same clips.

    Parameters
    ----------
    folder : Path
        Made where absent; a corpus that is already there is replaced.
    settings : CorpusSettings
        What to make.
    progress : Progress, optional
        Told of everything that is done.

    Returns
    -------
    corpus : Corpus
        Without embeddings: `index_corpus` adds them.

    Raises
    ------
    DatasetError
        The folder cannot be written.
    """
    try:
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        for stale in (folder / "corpus.json", folder / "embeddings.npy", *(folder / "clips").glob("*.flac")):
            stale.unlink(missing_ok=True)
    except OSError as exc:
        raise DatasetError(f"the corpus folder {folder} cannot be written ({exc.strerror}); choose another") from exc
    jobs = [(genre, number) for number in range(settings.n_per_genre) for genre in GENRES]
    clips = in_threads(lambda job: _make_clip(folder, settings, *job), jobs, "composing", progress)
    corpus = Corpus(folder, settings.duration_s, tuple(clips), None, np.zeros((len(clips), 0), np.float32))
    write_entries(corpus)
    return corpus


def _make_clip(folder: Path, settings: CorpusSettings, genre: str, number: int) -> CorpusClip:
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    made = render(ClipSpec(genre, seed, settings.duration_s, settings.rate_hz, settings.borrow))
    clip_id = f"{genre}-{number:03d}"
    path = folder / "clips" / f"{clip_id}.flac"
    soundfile.write(path, made.audio, made.rate_hz, format="FLAC", subtype="PCM_16", compression_level=0.0)
    split = "test" if number >= settings.n_per_genre - settings.n_test_per_genre else "training"
    return CorpusClip(clip_id, f"clips/{path.name}", genre, split, len(made.audio) / made.rate_hz, made.bpm,
                      made.first_beat_s, gain_db(made.audio, made.rate_hz),
                      hashlib.sha256(path.read_bytes()).hexdigest(), made.labels, path.stat().st_size)
