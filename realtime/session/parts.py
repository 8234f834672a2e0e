"""What the core of a session is made of. Values only; see `realtime.app` for who makes them."""

from dataclasses import dataclass, field

from realtime.bundle import Bundle
from realtime.decoding.evidence import Schedule, Trials
from realtime.experiment.run_design import RunDesign
from realtime.generators.conditioning import Conditioning
from realtime.music.selection import SelectionSettings
from realtime.ports import Decoder, MusicIndex
from realtime.session.events import Event


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that decisions depend on.

    Attributes
    ----------
    bundle, decoder, index
        Who decodes, and what can be decoded.
    events : tuple of Event
        Trials that are known beforehand; those of the design, where there is one.
    events_name : str
        Where they come from, for messages.
    selection : SelectionSettings
        How music is chosen.
    wait_for_start : bool
        Nothing is decided before the operator's `start`.
    conditioning : Conditioning or None
        With it decisions also condition a generator.
    design : RunDesign or None
        With it the run is an experiment's: its phases say what sounds when.
    """

    bundle: Bundle
    decoder: Decoder
    index: MusicIndex
    events: tuple[Event, ...] = ()
    events_name: str = ""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    wait_for_start: bool = False
    conditioning: Conditioning | None = None
    design: RunDesign | None = None

    def schedule(self) -> Trials:
        """Which volumes speak of which trial; marks add to it at run time."""
        if self.design is not None:
            return self.design.trials()
        manifest = self.bundle.manifest
        return Schedule.from_onsets([event.onset_s for event in self.events], manifest.preprocessing.tr_s,
                                    manifest.lag_volumes, manifest.window_volumes)
