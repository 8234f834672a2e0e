"""What the live program and the process that generates say to each other: one JSON object per line.

Commands go down its standard input, news comes up its standard output; sound goes to the player's
door, past the live program. The end of the input is the death of the parent.
"""

import base64
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from realtime.generators.settings import GeneratorSettings
from realtime.messages import Condition

STREAM = "generated"
"""Name of the stream at the player's door."""


class Configure(msgspec.Struct, frozen=True, tag_field="command", tag="configure"):
    """Always the first command: what to generate, beside which corpus, and where to write the diary."""

    settings: GeneratorSettings
    corpus: Path
    diary: Path


class Feed(msgspec.Struct, frozen=True, tag_field="command", tag="feed"):
    """Feed the player behind this door from now on."""

    door: Path


class Ask(msgspec.Struct, frozen=True, tag_field="command", tag="ask"):
    """Sound like this from the next chunk on; the embedding is base64 of float32, little-endian."""

    number: int
    volume_index: int
    embedding: str
    clip_id: str

    @staticmethod
    def of(condition: Condition) -> "Ask":
        """The command for a condition."""
        text = base64.b64encode(condition.embedding.astype("<f4").tobytes()).decode()
        return Ask(condition.number, condition.volume_index, text, condition.clip_id)

    def condition(self) -> Condition:
        """The condition it was made of, bit for bit."""
        embedding = np.frombuffer(base64.b64decode(self.embedding), "<f4").astype(np.float32)
        return Condition(self.number, self.volume_index, embedding, self.clip_id)


class Close(msgspec.Struct, frozen=True, tag_field="command", tag="close"):
    """End the diary, and end."""


class Ready(msgspec.Struct, frozen=True, tag_field="news", tag="ready"):
    """Everything is loaded and warm."""

    about: dict[str, Any]


class Feeding(msgspec.Struct, frozen=True, tag_field="news", tag="feeding"):
    """A player has taken the stream: it can be played from now on."""


class StandIn(msgspec.Struct, frozen=True, tag_field="news", tag="stand_in"):
    """Why the corpus plays in a worker's place from now on; "" when the worker plays again."""

    reason: str


class Broken(msgspec.Struct, frozen=True, tag_field="news", tag="broken"):
    """It cannot generate, and ends."""

    reason: str


Command = Configure | Feed | Ask | Close
News = Ready | Feeding | StandIn | Broken


def _to_json(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    message = f"{type(value).__name__} does not go into a message"
    raise NotImplementedError(message)


def _from_json(wanted: type, value: Any) -> Any:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    message = f"{wanted.__name__} does not come in a message"
    raise NotImplementedError(message)


_encoder = msgspec.json.Encoder(enc_hook=_to_json)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command, dec_hook=_from_json)
_news: msgspec.json.Decoder[News] = msgspec.json.Decoder(News)


def encode_line(message: Command | News) -> bytes:
    """One line, its end included."""
    return _encoder.encode(message) + b"\n"


def decode_command(line: bytes) -> Command:
    """The command in a line; raises msgspec.MsgspecError."""
    return _commands.decode(line)


def decode_news(line: bytes) -> News:
    """The news in a line; raises msgspec.MsgspecError."""
    return _news.decode(line)
