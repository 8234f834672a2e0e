"""What the core of a session is made of. Values only; see `realtime.app` for who makes them."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from realtime.bundle import Bundle
from realtime.decoding.evidence import EvidenceSource, Schedule, TrialEvidence, Trials
from realtime.decoding.free_run import FreeRunEvidence
from realtime.decoding.posterior import Posterior, believe
from realtime.decoding.settings import DecodingSettings, Response
from realtime.experiment.run_design import RunDesign
from realtime.generators.conditioning import Conditioning
from realtime.messages import Evidence
from realtime.music.selection import SelectionSettings
from realtime.ports import Decoder, MusicIndex
from realtime.preprocessing import Preprocessor
from realtime.reliability import ANY_SIZE, HEARD
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
    decoding : DecodingSettings
        What counts as evidence, and how sure it must be.
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
    decoding: DecodingSettings = field(default_factory=DecodingSettings)

    @property
    def motion_limit_mm(self) -> float:
        """Framewise displacement above which a volume does not count: the session's, or else the bundle's."""
        chosen = self.decoding.motion_limit_mm
        return self.bundle.manifest.preprocessing.censor_fd_mm if chosen is None else chosen

    def preprocessor(self) -> Preprocessor:
        """A preprocessor at the start of a run: the bundle's, with the session's limit of motion."""
        manifest = self.bundle.manifest
        limited = replace(manifest.preprocessing, censor_fd_mm=self.motion_limit_mm)
        return replace(self.bundle, manifest=replace(manifest, preprocessing=limited)).preprocessor()

    @property
    def window_volumes(self) -> int:
        """Volumes that evidence is of at most."""
        free = self.decoding.mode == "free_run"
        return self.decoding.free_run.window_volumes if free else self.bundle.manifest.window_volumes

    def response(self, trial: int) -> Response:
        """What a trial's evidence is a response to; that of a marked one, or a segment (-1), is as settings have it."""
        return self.decoding.response_of(self._type_of(trial))

    @cached_property
    def may_be_imagined(self) -> bool:
        """Whether a trial or segment of the run may be a response to something imagined."""
        return "imagined" in {self.decoding.response, *map(self.response, range(len(self.events)))}

    def believe(self, evidence: Evidence) -> Posterior:
        """How probable each clip is, given this evidence of one volume or more."""
        return believe(self.index, evidence.embedding, self.bundle.reliability, evidence.n_volumes,
                       self.decoding.sizes(self._type_of(evidence.trial)))

    def evidence(self) -> EvidenceSource:
        """What gathers the volumes of one attempt at the run."""
        if self.decoding.mode == "free_run":
            return FreeRunEvidence(self.decoding.free_run, self.decoder, self.bundle.reliability, self.index,
                                   HEARD if self.decoding.response == "heard" else ANY_SIZE)
        return TrialEvidence(self.schedule(), self.decoder)

    def _type_of(self, trial: int) -> str:
        return self.events[trial].trial_type if 0 <= trial < len(self.events) else ""

    def schedule(self) -> Trials:
        """Which volumes speak of which trial; marks add to it at run time."""
        if self.design is not None:
            return self.design.trials()
        manifest = self.bundle.manifest
        return Schedule.from_onsets([event.onset_s for event in self.events], manifest.preprocessing.tr_s,
                                    manifest.lag_volumes, manifest.window_volumes)
