"""The language of the token model: a bar as a header and what begins at each of its sixteenths.

A bar is ``BAR``, one token for each of HEADER (tempo, kit, the voices, the patterns, the key, the lead's rhythm, this
bar's chord and the next, …), and for every step at which something begins ``STEP k``, its drums, and its notes part by
part: bass, chords, lead, pad.
A part's ``LENGTH`` is said where it changes, and holds until the bar's end. Pitches are written as if the key were C;
the key says in which register, for a part keeps its place whatever the key. Velocities are not written, the player
draws them.

A header may come before any step: that is how the music changes in the middle of a bar.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from realtime.generators.themes import Theme, theme_of
from realtime.music.synth_parts import STEPS_PER_BAR, Band, Hit, Note
from realtime.music.synth_score import Score
from realtime.music.synth_styles import GENRES, MELODY_SCALES, SCALES, STYLES
from realtime.music.synth_voices import VOICES

KITS = ("", "acoustic", "machine", "brushes", "heavy")
SOUNDS = ("kick", "snare", "clap", "rim", "hat", "open", "ride", "crash", "tom", "shaker")
PARTS = ("bass", "chords", "lead", "pad")
_PITCHES = {"bass": (18, 78), "chords": (30, 100), "lead": (42, 112), "pad": (42, 90)}
_LENGTHS = (0.6, 1.2, 2.0, 3.0, 4.2, 6.5, 11.0)  # borders between eight classes of length, in sixteenths
_LENGTH_OF = (0.5, 0.85, 1.5, 2.5, 3.5, 5.2, 8.0, 15.2)
_TEMPOS = tuple(float(bpm) for bpm in np.round(np.geomspace(57.0, 180.0, 32), 1))
_SWINGS = tuple(sorted({style.swing for style in STYLES.values()}))
_REVERBS = tuple(sorted({style.reverb for style in STYLES.values()}))
_LEVELS = tuple(sorted({style.drums.level for style in STYLES.values()}))
_TOUCHES = (0.55, 1.0)
_VOICES = ("", *sorted(VOICES))
_PANS = {"hat": 0.3, "open": 0.3, "ride": -0.35, "crash": -0.4, "shaker": 0.45, "tom": 0.2}

_BASS_PATTERNS = tuple(sorted({pattern for style in STYLES.values() for pattern in style.bass.patterns}))
_CHORD_PATTERNS = tuple(sorted({pattern for style in STYLES.values() for pattern in style.chords.patterns}))
_DRUM_PATTERNS = tuple((genre, number) for genre in GENRES for number in range(
    max(1, len(STYLES[genre].drums.patterns))))

_BEATS = tuple(f"lead beat {number}" for number in range(1, 5))  # the motif's rhythm, a bit for each sixteenth
HEADER = ("tempo", "swing", "reverb", "level", "kit", "touch", "bass", "chords", "lead", "pad", "key", "scale",
          "melody", "degree", "following", "phrase", "bass line", "chord line", "chord style", "drum line",
          "lead style", *_BEATS)
_CHOICES: dict[str, tuple[object, ...]] = {
    "tempo": _TEMPOS, "swing": _SWINGS, "reverb": _REVERBS, "level": _LEVELS, "kit": KITS, "touch": _TOUCHES,
    **{part: _VOICES for part in PARTS}, "key": tuple(range(12)), "scale": tuple(SCALES),
    "melody": tuple(MELODY_SCALES), "degree": tuple(range(7)), "following": tuple(range(7)), "phrase": (0, 1, 2, 3),
    "bass line": _BASS_PATTERNS, "chord line": _CHORD_PATTERNS, "chord style": GENRES, "drum line": _DRUM_PATTERNS,
    "lead style": GENRES, **{beat: tuple(range(16)) for beat in _BEATS}}


@dataclass(frozen=True)
class Header:
    """What the player needs to know of a bar's header; voices by part."""

    tempo: float
    swing: float
    reverb: float
    level: float
    kit: str
    touch: float
    voices: dict[str, str]


class Vocabulary:
    """Numbers of the tokens: each kind has a range of its own."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self.size = 0
        for kind, count in self._kinds():
            self._first[kind], self._count[kind] = self.size, count
            self.size += count
        self._kind_at = [kind for kind, count in self._kinds() for _ in range(count)]

    @staticmethod
    def _kinds() -> list[tuple[str, int]]:
        headers = [(name, len(_CHOICES[name])) for name in HEADER]
        parts = [(f"{part} pitch", high - low) for part, (low, high) in _PITCHES.items()]
        lengths = [(f"{part} length", len(_LENGTH_OF)) for part in PARTS]
        return [("bar", 1), *headers, ("step", STEPS_PER_BAR), ("drum", 2 * len(SOUNDS)), *lengths, *parts]

    def token(self, kind: str, index: int = 0) -> int:
        """Number of the index-th token of a kind."""
        return self._first[kind] + index

    def tokens(self, kind: str) -> range:
        """Numbers of all tokens of a kind."""
        return range(self._first[kind], self._first[kind] + self._count[kind])

    def kind(self, token: int) -> str:
        """Kind of a token."""
        return self._kind_at[token]

    def index(self, token: int) -> int:
        """Which of its kind a token is."""
        return token - self._first[self._kind_at[token]]


VOCABULARY = Vocabulary()


class ScoreText:
    """A score, to be written as tokens.

    Parameters
    ----------
    score : Score
        What `compose` wrote.
    """

    def __init__(self, score: Score) -> None:
        self.n_bars = score.n_bars
        self._band = score.band
        self._theme = theme_of(score.band)
        self._shift = transposition(score.band.plan.key)
        self._notes: dict[int, list[Note]] = {}
        self._hits: dict[int, list[Hit]] = {}
        for note in score.notes:
            self._notes.setdefault(int(note.step), []).append(note)
        for hit in score.hits:
            self._hits.setdefault(int(hit.step), []).append(hit)

    def bar(self, number: int, begin: int = 0, stop: int = STEPS_PER_BAR) -> list[int]:
        """The steps of a bar from `begin` to before `stop`, after their header."""
        tokens, lengths = header_tokens(self._theme, number % self.n_bars), dict.fromkeys(PARTS, -1)
        for step in range(begin, stop):
            at = number % self.n_bars * STEPS_PER_BAR + step
            begun = _drum_tokens(self._hits.get(at, []))
            begun += _note_tokens(self._notes.get(at, []), self._band, self._shift, lengths)
            if begun:
                tokens += [VOCABULARY.token("step", step), *begun]
        return tokens


def transposition(key: int) -> int:
    """Semitones by which a piece in this key lies above one in C: -5 to 6."""
    return (key + 5) % 12 - 5


def header_tokens(theme: Theme, bar: int) -> list[int]:
    """BAR and the header of a theme's bar, counted from 0."""
    style = {part: STYLES[genre] for part, genre in theme.styles.items()}
    drums, chords = style["drums"].drums, theme.progression
    values: dict[str, object] = {
        "swing": style["tempo"].swing, "reverb": style["chords"].reverb, "level": drums.level,
        "kit": drums.kit if drums.patterns else "", "touch": max(_TOUCHES) if 4 in SCALES[theme.scale] else
        min(_TOUCHES), **theme.voices, "pad": theme.pad, "key": theme.key, "scale": theme.scale, "melody": theme.melody,
        "degree": chords[bar % len(chords)], "following": chords[(bar + 1) % len(chords)], "phrase": bar % 4,
        "bass line": theme.bass_pattern, "chord line": theme.chord_pattern, "chord style": theme.styles["chords"],
        "drum line": (theme.styles["drums"], theme.drum_pattern), "lead style": theme.styles["lead"],
        **{beat: sum(1 << step % 4 for step in theme.motif if step // 4 == number)
           for number, beat in enumerate(_BEATS)}}
    tempo = int(np.abs(np.log(np.array(_TEMPOS) / theme.bpm)).argmin())
    rest = [VOCABULARY.token(name, _CHOICES[name].index(values[name])) for name in HEADER[1:]]
    return [VOCABULARY.token("bar"), VOCABULARY.token("tempo", tempo), *rest]


def read_header(tokens: list[int]) -> Header:
    """What the header's tokens, those after BAR, say."""
    at = {name: VOCABULARY.index(token) for name, token in zip(HEADER, tokens, strict=True)}
    return Header(_TEMPOS[at["tempo"]], _SWINGS[at["swing"]], _REVERBS[at["reverb"]], _LEVELS[at["level"]],
                  KITS[at["kit"]], _TOUCHES[at["touch"]], {part: _VOICES[at[part]] for part in PARTS})


def _drum_tokens(hits: list[Hit]) -> list[int]:
    numbers = {2 * SOUNDS.index(hit.sound) + (hit.velocity < 0.5) for hit in hits}
    return [VOCABULARY.token("drum", number) for number in sorted(numbers)]


def _note_tokens(notes: list[Note], band: Band, shift: int, lengths: dict[str, int]) -> list[int]:
    """Notes of one step, part by part; `lengths` remembers what each part's length was."""
    tokens = []
    for part, mine in _parts(notes, band).items():
        low, high = _PITCHES[part]
        for note in sorted(mine, key=lambda note: note.pitch):
            length = bisect_left(_LENGTHS, note.n_steps)
            if length != lengths[part]:
                tokens.append(VOCABULARY.token(f"{part} length", length))
                lengths[part] = length
            tokens.append(VOCABULARY.token(f"{part} pitch", int(np.clip(note.pitch - shift, low, high - 1)) - low))
    return tokens


def _parts(notes: list[Note], band: Band) -> dict[str, list[Note]]:
    """Notes by the part that plays them: told by voice and, where two parts share one, by pan."""
    places = {"bass": (band.bass.voice, 0.0), "chords": (band.chords.voice, band.chords.pan),
              "lead": (band.tune.voice, 0.1)}
    sorted_out: dict[str, list[Note]] = {part: [] for part in PARTS}
    for note in notes:
        part = next((part for part, place in places.items() if place == (note.voice, note.pan)), "pad")
        sorted_out[part].append(note)
    return sorted_out


@dataclass(frozen=True)
class Grammar:
    """Where a text stands, and what may come next.

    Attributes
    ----------
    place : int
        So many tokens of the header were read; all of them: in the bar.
    step : int
        The step that is being written; -1 before the first of this bar.
    voices : tuple of bool
        Which of PARTS have a voice, and last whether there is a kit.
    drum : int
        The last drum of this step; -1 for none.
    part : int
        Which of PARTS is being written; -1 for none yet.
    lengths : tuple of bool
        Which of PARTS have said a length in this bar.
    pitch : int
        The last pitch token of this part in this step; -1 for none.
    fresh : bool
        Whether a length was said last: a pitch must follow.
    """

    place: int = 0
    step: int = -1
    voices: tuple[bool, ...] = (False,) * 5
    drum: int = -1
    part: int = -1
    lengths: tuple[bool, ...] = (False,) * 4
    pitch: int = -1
    fresh: bool = False

    def read(self, token: int) -> "Grammar":
        """Where the text stands after this token."""
        kind, index = VOCABULARY.kind(token), VOCABULARY.index(token)
        if kind == "bar":
            return Grammar(step=self.step if self.place == len(HEADER) else -1)
        if self.place < len(HEADER):
            has = list(self.voices)
            if kind in PARTS or kind == "kit":
                has[PARTS.index(kind) if kind in PARTS else 4] = index > 0
            return replace(self, place=self.place + 1, voices=tuple(has))
        if kind == "step":
            return replace(self, step=index, drum=-1, part=-1, pitch=-1, fresh=False)
        if kind == "drum":
            return replace(self, drum=index)
        part = PARTS.index(kind.split()[0])
        if kind.endswith("length"):
            said = tuple(one or number == part for number, one in enumerate(self.lengths))
            return replace(self, part=part, lengths=said, pitch=self.pitch if part == self.part else -1, fresh=True)
        return replace(self, part=part, pitch=index, fresh=False)

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next, shape (VOCABULARY.size,); BAR and STEP are told by the caller's clock."""
        mask = np.zeros(VOCABULARY.size, bool)
        if self.place < len(HEADER):
            choices = VOCABULARY.tokens(HEADER[self.place])
            mask[choices.start + (HEADER[self.place] in ("bass", "chords", "lead")): choices.stop] = True
            return mask
        if not self.fresh and self.part < 0 and self.voices[4]:
            drums = VOCABULARY.tokens("drum")
            mask[drums.start + self.drum + 1: drums.stop] = True
        for part in range(max(self.part, 0), len(PARTS)):
            if not self.voices[part] or (self.fresh and part != self.part):
                continue
            pitches = VOCABULARY.tokens(f"{PARTS[part]} pitch")
            lowest = self.pitch + 1 if part == self.part else 0
            if self.lengths[part]:
                mask[pitches.start + lowest: pitches.stop] = True
            if not self.fresh and lowest < len(pitches):
                mask[list(VOCABULARY.tokens(f"{PARTS[part]} length"))] = True
        return mask


def drum(token: int, offset: float, rng: np.random.Generator) -> Hit:
    """The hit of a drum token, `offset` sixteenths late."""
    sound, soft = divmod(VOCABULARY.index(token), 2)
    return Hit(SOUNDS[sound], offset, (0.45 if soft else 1.0) * float(rng.uniform(0.85, 1.0)),
               _PANS.get(SOUNDS[sound], 0.0))


def pitch_of(token: int, key: int) -> int:
    """MIDI number of a pitch token in a key."""
    return _PITCHES[VOCABULARY.kind(token).split()[0]][0] + VOCABULARY.index(token) + transposition(key)


def length_of(token: int) -> float:
    """Sixteenths that a length token stands for."""
    return _LENGTH_OF[VOCABULARY.index(token)]
