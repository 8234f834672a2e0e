"""One line of a checklist, and its answer. Values only."""

from dataclasses import dataclass
from typing import Literal

from offline_training.disclosure import HIDDEN

State = Literal["filled", "partly", "asked", "withheld"]


@dataclass(frozen=True)
class Item:
    """One line.

    Attributes
    ----------
    number : str
        As published.
    area : str
        Heading it stands under.
    what : str
        What it wants to know, in our words.
    state : {"filled", "partly", "asked", "withheld"}
        filled: from the record alone; partly: the record has a part, `question` asks for the rest; asked: no program
        can know; withheld: known, and not shown while the study is blinded.
    answer : str
        What the record says; "" where it says nothing.
    stands_in : str
        File or place the answer was read from.
    question : str
        What is left for the authors; "" for nothing.
    """

    number: str
    area: str
    what: str
    state: State
    answer: str = ""
    stands_in: str = ""
    question: str = ""


@dataclass(frozen=True)
class Line:
    """A line before it is answered: number as published, and what it wants to know."""

    number: str
    area: str
    what: str

    def filled(self, answer: str, stands_in: str, question: str = "") -> Item:
        """From the record; partly where a question is left. Without an answer it is only the question."""
        if not answer:
            return self.asked(question or f"{self.what}?")
        return Item(self.number, self.area, self.what, "partly" if question else "filled", answer, stands_in, question)

    def asked(self, question: str) -> Item:
        """For the authors."""
        return Item(self.number, self.area, self.what, "asked", question=question)

    def withheld(self) -> Item:
        """Not while the study is blinded."""
        return Item(self.number, self.area, self.what, "withheld", HIDDEN)
