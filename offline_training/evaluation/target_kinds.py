"""What a clip can be decoded as: its embedding, its average spectrum, words about it, its genre alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.corpus import CorpusClip, heard_audio, read_entries
from offline_training.embedder.truth import INSTRUMENT_OF_VOICE, TEMPI, TEMPO_EDGES_BPM
from offline_training.targets import logmel_statistics
from realtime.music.catalogue import Catalogue
from realtime.ports import TextEmbedder

Vectors = dict[str, NDArray[np.float32]]
_N_BANDS = 40


def embedding_targets(catalogue: Catalogue, clips: Sequence[str]) -> Vectors:
    """High-level audio: the catalogue's own embedding."""
    return {clip: catalogue.embedding(clip) for clip in clips}


def spectral_targets(corpus: Path, clips: Sequence[str]) -> Vectors:
    """Low-level audio: the mean level in 40 mel bands over what was heard, in dB about the clip's mean power.

    It knows timbre, and nothing of rhythm, harmony or form: what SoundStream-avg is in Brain2Music's table.

    Raises
    ------
    DatasetError
        No corpus there, or a clip that cannot be read.
    """
    entries = read_entries(corpus)
    known = {clip.clip_id: clip for clip in entries.clips}
    return {clip: logmel_statistics(*heard_audio(entries, known[clip]))[:_N_BANDS] for clip in clips}


def text_targets(embedder: TextEmbedder, captions: Mapping[str, str], clips: Sequence[str]) -> Vectors:
    """Text: the words' vector of each clip's caption."""
    return {clip: embedder.embed_text(captions[clip]) for clip in clips}


def captions(entries: Sequence[CorpusClip]) -> dict[str, str]:
    """Words about each clip: its label `caption` where it has one, else what its other labels, genre and tempo say."""
    return {clip.clip_id: clip.labels.get("caption") or _described(clip) for clip in entries}


def _described(clip: CorpusClip) -> str:
    voices = (clip.labels.get(part, "") for part in ("lead", "chords"))
    instruments = dict.fromkeys(INSTRUMENT_OF_VOICE[voice] for voice in voices if voice in INSTRUMENT_OF_VOICE)
    tempo = TEMPI[int(np.digitize(clip.bpm, TEMPO_EDGES_BPM))] if clip.bpm > 0 else ""
    words = (tempo, clip.labels.get("mood", ""), clip.genre, *instruments, "music")
    return " ".join(word for word in words if word)


def genre_targets(genres: Mapping[str, str], clips: Sequence[str]) -> Vectors:
    """One-hot genre."""
    names = sorted({genres[clip] for clip in clips})
    rows = np.eye(len(names), dtype=np.float32)
    return {clip: rows[names.index(genres[clip])] for clip in clips}
