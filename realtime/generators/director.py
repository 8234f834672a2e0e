"""The director: reads the traits of a piece out of an embedding, and has the band play it."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from realtime.generators.performer import Moment
from realtime.generators.readouts import Readouts, Traits
from realtime.generators.state import Memory, pack_random, unpack_random
from realtime.messages import Condition, EmbeddingSpace
from realtime.music.synth_parts import (
    STEPS_PER_BAR,
    Arrangement,
    Band,
    Bar,
    Hit,
    Line,
    Note,
    Plan,
    Tune,
    draw_pad,
    draw_tune,
    pick,
    write_bar,
)
from realtime.music.synth_styles import STYLES

Anchors = Mapping[str, Traits]
"""Traits of the clips that music may begin from, by clip id."""


class Director:
    """A composer that plays what linear read-outs of the embedding say; implements `Composer`.

    New traits are taken up at the next sixteenth: the bar goes on where it is, its rest written anew.
    A key is kept for ever; chords, motif and pad are drawn again only where their style changes.

    Parameters
    ----------
    readouts : Readouts
        From embeddings to traits.
    seed : int
        Of everything that the traits leave open.
    anchors : mapping of str to Traits
        Where a condition names one of these clips, its traits are played instead of what is read;
        empty to always read.
    """

    def __init__(self, readouts: Readouts, seed: int, anchors: Anchors | None = None) -> None:
        self._readouts = readouts
        self._seed = seed
        self._anchors = anchors or {}
        self._rng = np.random.default_rng([seed, 1])
        self._key = int(self._rng.integers(12))
        self._traits: Traits | None = None
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
        return self._readouts.space

    @property
    def step(self) -> int:
        """Which sixteenth of the bar comes next, 0 to 15."""
        return self._step

    @property
    def traits(self) -> Traits | None:
        """What it plays; None before the first condition."""
        return self._traits

    def condition(self, condition: Condition) -> None:
        """Play the traits of this embedding from the next moment on."""
        anchor = self._anchors.get(condition.clip_id)
        traits = anchor or self._readouts.read(condition.embedding, self._traits)
        if traits == self._traits:
            return
        self._band = self._form(traits)
        self._traits = traits
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
            self._band = replace(self._band, tune=self._written.tune)
        return moment

    def memory(self) -> Memory:
        """All that it will write depends on."""
        band = self._band
        return {"random": pack_random(self._rng), "key": self._key, "bar": self._bar, "step": self._step,
                "changed": self._changed, "traits": self._traits and asdict(self._traits),
                "band": band and {"progression": band.plan.progression, "tune": vars(band.tune), "pad": band.pad},
                "notes": [asdict(note) for note in self._written.notes],
                "hits": [asdict(hit) for hit in self._written.hits], "sung": vars(self._written.tune)}

    def remember(self, memory: Memory) -> None:
        """Go on from what `memory` gave."""
        self._rng = unpack_random(memory["random"])
        self._key, self._bar, self._step = memory["key"], memory["bar"], memory["step"]
        self._changed = memory["changed"]
        self._traits = memory["traits"] and Traits(**memory["traits"])
        self._band = None
        if self._traits is not None:
            kept = memory["band"]
            self._band = self._assemble(self._traits, tuple(kept["progression"]), _tune(kept["tune"]), kept["pad"])
        self._written = Bar(tuple(Note(**note) for note in memory["notes"]),
                            tuple(Hit(**hit) for hit in memory["hits"]), _tune(memory["sung"]))

    def _form(self, traits: Traits) -> Band:
        """A band for these traits that keeps what it can of the one that plays."""
        old, was = self._band, self._traits

        def same(*names: str) -> bool:
            return was is not None and all(was.styles[name] == traits.styles[name] for name in names)

        style = {part: STYLES[genre] for part, genre in traits.styles.items()}
        progression = old.plan.progression if old and same("harmony") else pick(
            self._rng, style["harmony"].progressions)
        plan = self._plan(traits, progression)
        pad = old.pad if old and same("chords") else draw_pad(self._rng, plan)
        goes_on = old is not None and was is not None and same("lead") and (was.scale, was.lead_notes) == (
            traits.scale, traits.lead_notes)
        tune = old.tune if old and goes_on else draw_tune(self._rng, plan, traits.lead_notes)
        return self._assemble(traits, progression, tune, pad)

    def _plan(self, traits: Traits, progression: tuple[int, ...]) -> Plan:
        style = {part: STYLES[genre] for part, genre in traits.styles.items()}
        return Plan(style, traits.bpm, self._key, traits.scale, progression, Arrangement(scale=traits.scale))

    def _assemble(self, traits: Traits, progression: tuple[int, ...], tune: Tune, pad: str) -> Band:
        plan, voices = self._plan(traits, progression), traits.voices
        patterns = plan.style["drums"].drums.patterns
        return Band(plan, Line(voices["bass"], traits.bass_pattern),
                    Line(voices["chords"], traits.chord_pattern, -0.4 if self._key % 2 else 0.4),
                    replace(tune, voice=voices["lead"]), pad, patterns[traits.drum_pattern] if patterns else ())


def _tune(kept: Memory) -> Tune:
    """A tune out of a state, whose tuples came back as lists."""
    return Tune(kept["voice"], tuple(kept["ladder"]), kept["home"], kept["reach"], tuple(kept["motif"]),
                tuple(kept["moves"]), kept["place"])
