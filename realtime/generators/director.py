"""The director: finds the theme whose music lies nearest to an embedding, and has the band play it without end."""

from dataclasses import asdict, replace

import numpy as np

from realtime.generators.choice import Anchors, ThemeChoice
from realtime.generators.performer import Moment
from realtime.generators.state import Memory, pack_random, unpack_random
from realtime.generators.themes import Theme, Themes, band_of, read_theme
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.synth_parts import STEPS_PER_BAR, Band, Bar, Hit, Note, Tune, write_bar

_PHRASE_BARS = 4  # then the melody comes home: left alone it sinks or climbs to the end of its reach, and stays there


class Director:
    """A composer that plays a library's themes; implements `Composer`.

    A new theme is taken up at the next sixteenth: the bar goes on where it is, its rest written anew. How a theme
    is performed, note by note, is drawn from the seed and the theme: it is the same whatever was played before.

    Parameters
    ----------
    themes : Themes
        The library.
    seed : int
        Of everything that a theme leaves open.
    anchors : mapping of str to Theme
        Where a condition names one of these clips, its theme is played instead of the nearest.
    """

    def __init__(self, themes: Themes, seed: int, anchors: Anchors | None = None) -> None:
        self._choice = ThemeChoice(themes, anchors)
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._theme: Theme | None = None
        self._band: Band | None = None
        self._written = Bar((), (), Tune("", (), 0, 0, (), (), 0))
        self._bar, self._step = 0, 0
        self._changed = False

    @property
    def name(self) -> str:
        """Names what it is and what it knows."""
        return f"director of seed {self._seed}"

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        return self._choice.space

    @property
    def step(self) -> int:
        """Which sixteenth of the bar comes next, 0 to 15."""
        return self._step

    @property
    def theme(self) -> Theme | None:
        """What it plays; None before the first condition."""
        return self._theme

    def condition(self, condition: Condition) -> None:
        """Play the theme for this embedding from the next moment on, beginning with its first chord."""
        theme = self._choice.theme(condition)
        if theme == self._theme:
            return
        self._theme, self._band, self._bar = theme, band_of(theme), 0
        self._rng = np.random.default_rng([self._seed, theme.number])
        self._written = write_bar(self._rng, self._band, self._bar)
        self._changed = True

    def moment(self) -> Moment:
        """The next sixteenth."""
        assert self._band is not None  # the first condition came before
        if self._step == 0 and not self._changed:
            self._written = write_bar(self._rng, self._band, self._bar)
        plan = self._band.plan
        drums = plan.style["drums"].drums
        moment = Moment(
            plan.bpm, drums.kit, drums.level, plan.style["chords"].reverb,
            tuple(replace(note, step=note.step - self._step) for note in self._written.notes
                  if int(note.step) == self._step),
            tuple(replace(hit, step=hit.step - self._step) for hit in self._written.hits
                  if int(hit.step) == self._step),
            damped=self._changed)
        self._changed = False
        self._step = (self._step + 1) % STEPS_PER_BAR
        if self._step == 0:
            self._bar += 1
            self._band = self._next_bars_band(self._band)
        return moment

    def memory(self) -> Memory:
        """All that it will write depends on."""
        return {"random": pack_random(self._rng), "bar": self._bar, "step": self._step, "changed": self._changed,
                "theme": self._theme and asdict(self._theme), "place": self._choice.place,
                "tune": self._band and vars(self._band.tune), "notes": [asdict(note) for note in self._written.notes],
                "hits": [asdict(hit) for hit in self._written.hits], "sung": vars(self._written.tune)}

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave."""
        self._rng = unpack_random(memory["random"])
        self._bar, self._step, self._changed = memory["bar"], memory["step"], memory["changed"]
        self._theme, self._band, self._choice.place = None, None, memory["place"]
        if memory["theme"]:
            self._theme = read_theme(memory["theme"])
            self._band = replace(band_of(self._theme), tune=_tune(memory["tune"]))
        self._written = Bar(tuple(Note(**note) for note in memory["notes"]),
                            tuple(Hit(**hit) for hit in memory["hits"]), _tune(memory["sung"]))

    def _next_bars_band(self, band: Band) -> Band:
        """The band with the tune as it goes on, or, at the end of a phrase, as it began."""
        assert self._theme is not None
        tune = self._written.tune if self._bar % _PHRASE_BARS else band_of(self._theme).tune
        return replace(band, tune=tune)


def _tune(kept: Memory) -> Tune:
    """A tune out of a state, whose tuples came back as lists."""
    return Tune(kept["voice"], tuple(kept["ladder"]), kept["home"], kept["reach"], tuple(kept["motif"]),
                tuple(kept["moves"]), kept["place"])
