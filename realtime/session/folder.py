"""Where a session keeps its files."""

from dataclasses import dataclass
from pathlib import Path


def topic_name(session: Path) -> str:
    """The session's name on the bus: its folder's name, with what a topic cannot hold replaced."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in session.resolve().name) or "session"


@dataclass(frozen=True)
class SessionFolder:
    """The files of one session.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def journal(self) -> Path:
        """Everything received; the record of truth."""
        return self.path / "journal.bin"

    @property
    def record(self) -> Path:
        """Everything decided; follows from the journal."""
        return self.path / "record.jsonl"

    @property
    def timing(self) -> Path:
        """When things happened, by this machine's monotonic clock."""
        return self.path / "timing.jsonl"

    @property
    def shown(self) -> Path:
        """What tasks showed the person, and when (`realtime.outlets.door`); missing without tasks."""
        return self.path / "shown.jsonl"

    @property
    def summary(self) -> Path:
        """Figures of the session."""
        return self.path / "summary.json"

    @property
    def lock(self) -> Path:
        """Held by the live program that records here; says which process it is."""
        return self.path / "session.lock"

    @property
    def settings(self) -> Path:
        """What the session was started with, for resuming and replay."""
        return self.path / "session.json"

    @property
    def bundle(self) -> Path:
        """Copy of the bundle."""
        return self.path / "bundle"

    @property
    def catalogue(self) -> Path:
        """Copy of the catalogue's embeddings, without the audio."""
        return self.path / "catalogue"

    @property
    def events(self) -> Path:
        """Copy of the events; missing when trials were marked."""
        return self.path / "events.tsv"

    @property
    def design(self) -> Path:
        """Copy of the run's design; missing where the music follows the decoder all the time."""
        return self.path / "design.json"

    @property
    def cues(self) -> Path:
        """The tones of a designed run."""
        return self.path / "cues"

    @property
    def generator(self) -> Path:
        """Copy of the generator's files; missing without one."""
        return self.path / "generator"

    @property
    def diary(self) -> Path:
        """What the generator was asked for, before which chunk."""
        return self.path / "generated.jsonl"

    @property
    def played(self) -> Path:
        """The samples that were played."""
        return self.path / "played.wav"

    @property
    def overlay(self) -> Path:
        """Of a reference run: how it lies on the training reference, as a picture."""
        return self.path / "overlay.png"

    @property
    def overlay_figures(self) -> Path:
        """And in figures."""
        return self.path / "overlay.json"

    @property
    def exports(self) -> Path:
        """Which data sets it was exported to; missing before the first."""
        return self.path / "exports.jsonl"

    @property
    def tombstone(self) -> Path:
        """What was purged of it, when, by whom and why; missing before."""
        return self.path / "purged.jsonl"
