"""What BIDS calls things: a person, a session, a run. Pure."""

from dataclasses import dataclass
from pathlib import Path


def label(text: str) -> str:
    """Letters and digits of a text, all that a BIDS label may hold; "x" for none."""
    return "".join(char for char in text if char.isascii() and char.isalnum()) or "x"


@dataclass(frozen=True)
class RunName:
    """One run of a data set.

    Attributes
    ----------
    subject, session, task : str
        Labels, without "sub-" and the like.
    run : int
        Counts from 1 within a task.
    """

    subject: str
    session: str
    task: str
    run: int

    @property
    def folder(self) -> Path:
        """Where its files lie, below the data set or its derivatives."""
        return Path(f"sub-{self.subject}") / f"ses-{self.session}" / "func"

    @property
    def stem(self) -> str:
        """Beginning of its files' names."""
        return f"sub-{self.subject}_ses-{self.session}_task-{self.task}_run-{self.run:02}"

    def path(self, ending: str) -> Path:
        """One of its files, such as "bold.json", below the data set."""
        return self.folder / f"{self.stem}_{ending}"
