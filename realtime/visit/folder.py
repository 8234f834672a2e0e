"""Where a visit keeps its runs."""

from dataclasses import dataclass
from pathlib import Path

from realtime.session.folder import SessionFolder
from realtime.session.record import read_documents


@dataclass(frozen=True)
class VisitFolder:
    """The files of one visit.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def diary(self) -> Path:
        """What happened; the visit's record of truth."""
        return self.path / "diary.jsonl"

    @property
    def home(self) -> SessionFolder:
        """The visit itself, as what one program holds and STOP can lie in before there is a run."""
        return SessionFolder(self.path)

    def run(self, name: str) -> SessionFolder:
        """The session of a run."""
        return SessionFolder(self.path / name)

    def begun_last(self) -> SessionFolder:
        """The session whose player sounds, or sounded last; the visit itself before the first run."""
        begun = [str(entry["run"]) for entry in read_documents(self.diary) if entry["what"] == "begun"]
        return self.run(begun[-1]) if begun else self.home
