"""The token model as a composer: it writes what begins at each sixteenth, the condition beside every token."""

from dataclasses import asdict, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.generators.choice import Anchors, ThemeChoice
from realtime.generators.performer import Moment
from realtime.generators.state import Memory, pack_random, unpack_random
from realtime.generators.themes import Theme, Themes, read_theme
from realtime.generators.token_model import TokenModel
from realtime.generators.tokens import (
    PARTS,
    VOCABULARY,
    Grammar,
    Header,
    drum,
    header_tokens,
    length_of,
    pitch_of,
    read_header,
)
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.synth_parts import STEPS_PER_BAR, Note, swung

TEMPERATURE = 0.6
LIKELIEST = 8  # of which one is drawn; of 16 at 0.9 the genre was right 0.67 of the time, not 0.85 (ADR 0029)
_MOST_TOKENS = 40  # of one sixteenth; no procedural piece has half as many
_PANS = {"bass": (0.0,), "chords": (-0.4,), "lead": (0.1,), "pad": (-0.5, 0.0, 0.5)}
_SOFTEST = {"bass": 0.8, "chords": 0.75, "lead": 0.6, "pad": 0.32}
_LOUDEST = {"bass": 1.0, "chords": 1.0, "lead": 0.9, "pad": 0.32}


class TokenComposer:
    """Draws the next sixteenth from the token model; implements `Composer`.

    What a bar's header says (tempo, voices, patterns, chords) and the key are those of the theme nearest to the
    condition; the model writes the notes. A new condition is answered at once: a header comes before the next
    sixteenth, and the bar goes on.

    Parameters
    ----------
    model : TokenModel
        The network; this composer's own, its cache is part of the memory.
    themes : Themes
        The library, in the model's space.
    seed : int
        Of all draws.
    anchors : mapping of str to Theme
        Where a condition names one of these clips, its theme is taken instead of the nearest.
    """

    def __init__(self, model: TokenModel, themes: Themes, seed: int, anchors: Anchors | None = None) -> None:
        self._model, self._choice = model, ThemeChoice(themes, anchors)
        self._seed = seed
        self._rng = np.random.default_rng([seed, 2])
        self._bar = 0
        self._embedding = np.zeros(model.space.dim, np.float32)
        self._grammar = Grammar()
        self._theme: Theme | None = None
        self._header: Header | None = None
        self._logits = np.zeros(VOCABULARY.size, np.float32)
        self._next = -1
        self._step = 0
        self._lengths = dict.fromkeys(PARTS, 1.0)
        self._changed = False

    @property
    def name(self) -> str:
        """Names what it is and what it knows."""
        return f"token model {self._model.sha256[:16]} of seed {self._seed}"

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        return self._model.space

    @property
    def step(self) -> int:
        """Which sixteenth of the bar comes next, 0 to 15."""
        return self._step

    @property
    def header(self) -> Header | None:
        """Of the bar that is being written; None before the first."""
        return self._header

    def condition(self, condition: Condition) -> None:
        """Write like this from the next moment on."""
        theme = self._choice.theme(condition)
        if theme != self._theme:
            self._theme, self._bar, self._changed = theme, 0, True
        self._embedding = condition.embedding

    def moment(self) -> Moment:
        """The next sixteenth."""
        before = self._header
        assert self._theme is not None  # the first condition came before
        header = self._write_header(self._theme) if self._changed or self._step == 0 or not before else before
        tokens = self._write_step()
        late = swung(self._step, header.swing) - self._step
        damped = self._changed and before is not None and before.voices != header.voices
        self._changed = False
        self._step = (self._step + 1) % STEPS_PER_BAR
        self._bar += self._step == 0
        hits = [drum(token, late, self._rng) for token in tokens if VOCABULARY.kind(token) == "drum"]
        return Moment(header.tempo, header.kit or "acoustic", header.level, header.reverb,
                      tuple(self._notes(tokens, header, late)), tuple(hits), damped)

    def memory(self) -> Memory:
        """All that it will write depends on."""
        return {"random": pack_random(self._rng), "bar": self._bar, "embedding": self._embedding,
                "grammar": asdict(self._grammar), "theme": self._theme and asdict(self._theme),
                "place": self._choice.place,
                "header": self._header and asdict(self._header), "logits": self._logits,
                "next": self._next, "step": self._step, "lengths": dict(self._lengths), "changed": self._changed,
                "model": self._model.memory()}

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave."""
        self._rng = unpack_random(memory["random"])
        self._bar, self._embedding, self._logits = memory["bar"], memory["embedding"], memory["logits"]
        self._grammar = msgspec.convert(memory["grammar"], Grammar)
        self._theme = memory["theme"] and read_theme(memory["theme"])
        self._choice.place = memory["place"]
        self._header = memory["header"] and Header(**memory["header"])
        self._next, self._step = memory["next"], memory["step"]
        self._lengths, self._changed = memory["lengths"], memory["changed"]
        self._model.remember(memory["model"])

    def _write_header(self, theme: Theme) -> Header:
        tokens = header_tokens(theme, self._bar)
        for token in tokens:
            self._feed(token)
        self._next = self._draw(self._later(self._step))
        self._header = replace(read_header(tokens[1:]), tempo=theme.bpm)  # tokens know tempo in steps of 4 %
        return self._header

    def _write_step(self) -> list[int]:
        """Tokens of what begins now; what comes after them is drawn, but not yet written."""
        if self._next != VOCABULARY.token("step", self._step):
            return []
        self._feed(self._next)
        tokens: list[int] = []
        while True:
            mask = self._grammar.allowed()
            if not self._grammar.fresh:
                mask |= self._later(self._step + 1)
            if len(tokens) >= _MOST_TOKENS and not self._grammar.fresh:
                mask = self._later(self._step + 1)
            self._next = self._draw(mask)
            if VOCABULARY.kind(self._next) in ("step", "bar"):
                return tokens
            tokens.append(self._next)
            self._feed(self._next)

    @staticmethod
    def _later(step: int) -> NDArray[np.bool_]:
        """The tokens that end a sixteenth: a later one of this bar, or the next bar."""
        mask = np.zeros(VOCABULARY.size, bool)
        mask[VOCABULARY.token("bar")] = True
        steps = VOCABULARY.tokens("step")
        mask[steps.start + step: steps.stop] = True
        return mask

    def _feed(self, token: int) -> None:
        self._logits = self._model.step(token, self._embedding)
        self._grammar = self._grammar.read(token)

    def _draw(self, mask: NDArray[np.bool_]) -> int:
        """One of the likeliest allowed tokens, by its probability; in double precision, in a fixed order."""
        allowed = np.flatnonzero(mask)
        scores = self._logits[allowed].astype(np.float64) / TEMPERATURE
        order = np.argsort(-scores, kind="stable")[:LIKELIEST]
        weights = np.exp(scores[order] - scores[order[0]])
        place = int(np.searchsorted(np.cumsum(weights), self._rng.random() * weights.sum(), side="right"))
        return int(allowed[order[min(place, len(order) - 1)]])

    def _notes(self, tokens: list[int], header: Header, late: float) -> list[Note]:
        by_part: dict[str, list[tuple[int, float]]] = {part: [] for part in PARTS}
        theme = self._theme
        assert theme is not None
        for token in tokens:
            part, _, what = VOCABULARY.kind(token).partition(" ")
            if what == "length":
                self._lengths[part] = length_of(token)
            elif what == "pitch":
                by_part[part].append((pitch_of(token, theme.key), self._lengths[part]))
        notes = []
        for part, played in by_part.items():
            force = float(self._rng.uniform(_SOFTEST[part], _LOUDEST[part])) if played else 0.0
            gain = force / np.sqrt(max(1, len(played))) if part == "chords" else force
            strum = 0.04 if part == "chords" else 0.0
            for number, (pitch, length) in enumerate(played):
                pan = _PANS[part][number % len(_PANS[part])]
                touch = header.touch * (0.4 + 0.65 * force if part == "lead" else force if part == "chords" else 1.0)
                notes.append(Note(header.voices[part], late + strum * number, length, pitch, float(gain), pan, touch))
        return notes
