"""What is true of a procedural piece, and how people would say it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.music.synth_score import MOODS
from realtime.music.synth_styles import GENRES

VOICES_OF_INSTRUMENT: Mapping[str, tuple[str, ...]] = {
    "piano": ("piano",), "electric piano": ("electric_piano",), "organ": ("organ",),
    "acoustic guitar": ("acoustic_guitar",),
    "electric guitar": ("overdriven_guitar", "distorted_guitar", "clean_guitar", "muted_guitar"),
    "strings": ("strings",), "violin": ("fiddle",), "flute": ("flute",), "brass": ("brass",),
    "saxophone": ("saxophone",), "harmonica": ("harmonica",), "synthesizer": ("synth_lead", "synth_pluck"),
}
INSTRUMENTS = tuple(VOICES_OF_INSTRUMENT)
INSTRUMENT_OF_VOICE = {voice: name for name, voices in VOICES_OF_INSTRUMENT.items() for voice in voices}
TEMPI = ("slow", "medium", "fast")
TEMPO_EDGES_BPM = (85.0, 120.0)

WORDS: Mapping[str, tuple[str, ...]] = {
    "blues": ("blues", "bluesy"), "classical": ("classical", "baroque"), "country": ("country", "western"),
    "disco": ("disco", "funky"), "hiphop": ("hiphop", "hip hop", "rap"), "jazz": ("jazz", "jazzy"),
    "metal": ("metal", "heavy metal"), "pop": ("pop",), "reggae": ("reggae", "dub"), "rock": ("rock",),
    "calm": ("calm", "peaceful", "gentle", "relaxing", "serene", "quiet"),
    "happy": ("happy", "cheerful", "upbeat", "joyful", "sunny"),
    "sad": ("sad", "melancholic", "gloomy", "mournful", "wistful"),
    "tense": ("tense", "dark", "aggressive", "angry", "intense", "dramatic"),
    "piano": ("piano", "grand piano"), "electric piano": ("electric piano", "rhodes"),
    "organ": ("organ", "hammond"), "acoustic guitar": ("acoustic guitar", "steel string guitar"),
    "electric guitar": ("electric guitar", "distorted guitar", "overdriven guitar"),
    "strings": ("strings", "string section", "orchestra"), "violin": ("violin", "fiddle"), "flute": ("flute",),
    "brass": ("brass", "trumpet", "trumpets", "horns"), "saxophone": ("saxophone", "sax"),
    "harmonica": ("harmonica", "mouth harp"), "synthesizer": ("synthesizer", "synth"),
    "slow": ("slow", "laid back"), "medium": ("medium tempo", "mid tempo", "moderate"),
    "fast": ("fast", "quick", "rapid", "driving"),
}
_TEMPLATES = (
    "{mood} {genre} {instrument} {lead} {tempo}", "a {tempo} {mood} {genre} song {lead} {instrument}",
    "{genre} music {lead} {instrument} {mood} {tempo}", "this is a {mood} {genre} piece {instrument} {lead} {tempo}",
    "{instrument} {mood} {tempo} {genre} {lead}",
)
ANY = -1


@dataclass(frozen=True)
class Truth:
    """What is true of one piece.

    Attributes
    ----------
    shares : tuple of float
        Of each of GENRES in its six parts, sum 1.
    lead : str
        Instrument of the melody.
    instruments : frozenset of str
        Instruments of melody and chords.
    mood : str
        One of MOODS.
    bpm : float
        Tempo.
    """

    shares: tuple[float, ...]
    lead: str
    instruments: frozenset[str]
    mood: str
    bpm: float


@dataclass(frozen=True, eq=False)
class Truths:
    """The truth of many pieces as numbers, row by row.

    Attributes
    ----------
    shares : float32 array of shape (n, 10)
    lead, mood, tempo : int64 arrays of shape (n,)
        Places in INSTRUMENTS, MOODS and TEMPI.
    instruments : bool array of shape (n, 12)
    bpm : float32 array of shape (n,)
    """

    shares: NDArray[np.float32]
    lead: NDArray[np.int64]
    instruments: NDArray[np.bool_]
    mood: NDArray[np.int64]
    tempo: NDArray[np.int64]
    bpm: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> "Truths":
        """The truth of some of the pieces."""
        return Truths(self.shares[rows], self.lead[rows], self.instruments[rows], self.mood[rows], self.tempo[rows],
                      self.bpm[rows])

    @property
    def genre(self) -> NDArray[np.int64]:
        """The genre with the largest share, shape (n,); meaningful where that is more than half."""
        place: NDArray[np.int64] = self.shares.argmax(axis=1)
        return place


def tabulate(truths: list[Truth]) -> Truths:
    """Many truths as arrays."""
    bpm = np.array([truth.bpm for truth in truths], np.float32)
    return Truths(
        np.array([truth.shares for truth in truths], np.float32),
        np.array([INSTRUMENTS.index(truth.lead) for truth in truths]),
        np.array([[name in truth.instruments for name in INSTRUMENTS] for truth in truths]),
        np.array([MOODS.index(truth.mood) for truth in truths]), np.digitize(bpm, TEMPO_EDGES_BPM), bpm)


@dataclass(frozen=True, eq=False)
class Claims:
    """What captions say, as numbers: a place in GENRES, MOODS, INSTRUMENTS, INSTRUMENTS and TEMPI, or ANY.

    Attributes
    ----------
    genre, mood, lead, instrument, tempo : int64 arrays of shape (n,)
    """

    genre: NDArray[np.int64]
    mood: NDArray[np.int64]
    lead: NDArray[np.int64]
    instrument: NDArray[np.int64]
    tempo: NDArray[np.int64]

    def hold(self, truths: Truths) -> NDArray[np.bool_]:
        """Whether claim i holds of piece j, shape (n_claims, n_pieces); half a genre's parts make it that genre."""
        holds = np.ones((len(self.genre), len(truths.bpm)), bool)
        for said, true in ((self.mood, truths.mood), (self.lead, truths.lead), (self.tempo, truths.tempo)):
            holds &= (said[:, None] == ANY) | (said[:, None] == true[None])
        holds &= (self.genre[:, None] == ANY) | (truths.shares.T[self.genre] >= 0.5)
        holds &= ((self.instrument[:, None] == ANY) | truths.instruments.T[self.instrument])
        return holds

    def text(self, row: int, rng: np.random.Generator) -> str:
        """One of the ways to say claim `row`."""
        parts = {"genre": _word(GENRES, self.genre[row], rng), "mood": _word(MOODS, self.mood[row], rng),
                 "tempo": _word(TEMPI, self.tempo[row], rng), "lead": _word(INSTRUMENTS, self.lead[row], rng),
                 "instrument": _word(INSTRUMENTS, self.instrument[row], rng)}
        parts["lead"] += (" lead", " melody", " solo")[int(rng.integers(3))] if parts["lead"] else ""
        template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
        return " ".join(template.format(**parts).split())


def _word(names: tuple[str, ...], place: int, rng: np.random.Generator) -> str:
    if place == ANY:
        return ""
    options = WORDS[names[place]]
    return options[int(rng.integers(len(options)))]


def draw_claims(truths: Truths, rows: NDArray[np.int64], rng: np.random.Generator) -> Claims:
    """A true claim about each of the pieces `rows`; every claim says at least one thing."""
    said = rng.random((len(rows), 5)) < (0.6, 0.5, 0.4, 0.35, 0.3)
    said[np.arange(len(rows)), rng.integers(0, 5, len(rows))] = True
    known = truths.shares[rows].max(axis=1) >= 0.5
    said[:, 0] &= known
    said[~said.any(axis=1), 1] = True
    sounding = truths.instruments[rows] * rng.random((len(rows), len(INSTRUMENTS)))
    values = (truths.genre[rows], truths.mood[rows], truths.lead[rows], sounding.argmax(axis=1), truths.tempo[rows])
    return Claims(*(np.where(said[:, field], value, ANY) for field, value in enumerate(values)))


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption can hold, in alphabetical order."""
    phrases = [phrase for phrases in WORDS.values() for phrase in phrases]
    fillers = ["lead", "melody", "solo", "song", "music", "piece"]
    return tuple(sorted({word for phrase in (*phrases, *fillers) for word in phrase.split()}))
