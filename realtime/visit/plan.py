"""The plan of a visit: TOML in, frozen settings out. Nothing is ever edited in source."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from realtime.config import BridgeSettings, BrokerSettings, ConsoleSettings, LiveSettings, PlaybackSettings
from realtime.decoding.settings import DecodingSettings
from realtime.errors import ConfigError
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.feedback import FeedbackSettings
from realtime.music.selection import SelectionSettings
from realtime.outlet_settings import OutletsSettings

RunKind = Literal["localizer", "reference", "warm-up", "listen", "imagine", "feedback", "transfer"]
SILENT: tuple[RunKind, ...] = ("localizer", "reference")
"""Kinds without a design: volumes are recorded, nothing sounds."""


@dataclass(frozen=True)
class RunSettings:
    """One run of a plan.

    Attributes
    ----------
    name : str
        Names its folder; letters, digits, "-" and "_".
    kind : str
        localizer, reference: nothing sounds; warm-up: a design without feedback, to settle person and statistics;
        listen, imagine: a design without feedback; feedback: with; transfer: without again, what was learnt shall last.
    n_volumes : int
        Of the scan.
    design : Path or None
        TOML, such as `configs/imagery.toml`; none for the silent kinds.
    seed : int
        Of the design.
    feedback : FeedbackSettings
        For kind feedback alone.
    """

    name: str
    kind: RunKind
    n_volumes: int
    design: Path | None = None
    seed: int = 0
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)

    def __post_init__(self) -> None:
        label = f"run {self.name!r}"
        silent = self.kind in SILENT
        checks = [
            (self.name != "" and all(char.isalnum() or char in "-_" for char in self.name),
             f"{label}: name holds something else than letters, digits, '-' and '_'"),
            (1 <= self.n_volumes <= 100_000, f"{label}: n_volumes is {self.n_volumes}, wanted 1 to 100000"),
            ((self.design is None) == silent, f"{label}: design is given for every kind but localizer and reference"),
            ((self.feedback.mode != "off") == (self.kind == "feedback"), f"{label}: feedback.mode is "
             f"{self.feedback.mode!r}, and feedback is for runs of kind 'feedback', all of them, alone"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True)
class PlanSettings:
    """A visit, as `configs/plan.toml` has it.

    Attributes
    ----------
    subject : str
        Pseudonym; must be the bundle's, and in the allocation.
    bundle, catalogue : Path
        As in `LiveSettings`.
    folder : Path
        For everything this visit records; begun, or gone on with.
    acquisition : Acquisition
        How volumes follow each other in every run.
    runs : tuple of RunSettings
        In order.
    allocation : Path or None
        Sealed file that says whose feedback the subject gets; none: their own.
    control_bundle : Path or None
        Of another region, for that arm.
    donor : Path or None
        Folder of another person's visit with the same plan, for the yoked arm.
    embedder : Path or None
        Puts words such as "calm piano" where the music is, for a target in words.
    bridge, decoding, selection, playback, bus, console, outlets
        As in `LiveSettings`.
    """

    subject: str
    bundle: Path
    catalogue: Path
    folder: Path
    acquisition: Acquisition
    runs: tuple[RunSettings, ...]
    allocation: Path | None = None
    control_bundle: Path | None = None
    donor: Path | None = None
    embedder: Path | None = None
    keep_until: date | None = None
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    decoding: DecodingSettings = field(default_factory=DecodingSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    playback: PlaybackSettings = field(default_factory=PlaybackSettings)
    bus: BrokerSettings = field(default_factory=lambda: BrokerSettings("embedded"))
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    outlets: OutletsSettings = field(default_factory=OutletsSettings)

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"runs are named {names}: wanted one run or more, each name once")
        if self.decoding.mode == "free_run":
            raise ConfigError("decoding.mode is 'free_run', and the runs of a plan have trials of their own: leave it "
                              "out, or run `innerear live` without a plan")

    def check_settings(self) -> LiveSettings:
        """Settings of what all runs have in common, for the preflight."""
        return LiveSettings(self.bundle, self.catalogue, self.folder, bridge=self.bridge, playback=self.playback,
                            bus=self.bus, console=self.console)

    def live_settings(self, session: Path, bundle: Path, design: Path) -> LiveSettings:
        """Settings of the live program for one run."""
        return LiveSettings(bundle, self.catalogue, session, design=design, keep_until=self.keep_until,
                            bridge=self.bridge, decoding=self.decoding, selection=self.selection,
                            playback=self.playback, bus=self.bus)
