"""Text to word numbers: the whole tokenizer of the project's own text towers."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realtime.errors import EmbedderError


class WordTable:
    """Words a text tower knows; number 0 pads, word i of the table has number i + 1.

    Parameters
    ----------
    words : sequence of str
        Lower case, distinct.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(self.words, start=1)}

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Numbers of the known words, each once, shape (n_texts, most words), padded with 0; others are passed over.

        Raises
        ------
        EmbedderError
            A text with no known word: its vector would mean nothing.
        """
        rows = [self._known(text) for text in texts]
        tokens = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
        for row, numbers in zip(tokens, rows, strict=True):
            row[: len(numbers)] = numbers
        return tokens

    def _known(self, text: str) -> list[int]:
        found = dict.fromkeys(re.findall(r"[a-z]+", text.lower()))
        numbers = [self._numbers[word] for word in found if word in self._numbers]
        if not numbers:
            raise EmbedderError(f"{text!r} holds no word this embedder knows; it knows {', '.join(self.words)}; "
                                "describe the music in these words")
        return numbers
