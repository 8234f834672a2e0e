"""MusicGen as a worker: segments of music, each going on from the end of the last, told an embedding for words.

The model is transformers' `MusicgenForConditionalGeneration` from a folder; nothing is ever fetched. In
place of an encoded text it gets one vector: what a `TextAdapter` makes of the embedding. A segment
cannot be changed once it is begun, so the next one is ordered when `ahead_s` of the present one are
left, with the newest condition of that moment, and made in a thread of its own meanwhile. Which
condition a segment gets follows from counting chunks, not from clocks: the same requests give the
same music.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import MusicgenForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from realtime.errors import GeneratorError
from realtime.messages import EmbeddingSpace
from realtime.workers.adapter import TextAdapter
from realtime.workers.encoder import checksum
from realtime.workers.seams import Seam, to_stereo

RATE_HZ = 48000
CHUNK_FRAMES = 4800
_SHORTEST_S, _LONGEST_S = 0.5, 10.0
_DRAWS = threading.Lock()  # torch has one source of random numbers for all threads


@dataclass(frozen=True)
class MusicgenSettings:
    """How MusicGen is asked.

    Attributes
    ----------
    segment_s : float
        New music per segment.
    prompt_s : float
        Of the last music that a segment is told to go on from; 0 begins anew each time.
    ahead_s : float
        How much of a segment is left when the next is ordered: longer than one takes to make.
    guidance : float
        Scale of classifier-free guidance; 1 for none, which is twice as fast.
    temperature : float
        Of sampling.
    top_k : int
        Likeliest tokens that are drawn from.
    patience_s : float
        How long a request waits for a segment that is not ready, before it is told so.
    device : str
        "cpu" or "cuda".
    """

    segment_s: float = 3.0
    prompt_s: float = 1.0
    ahead_s: float = 2.0
    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    patience_s: float = 0.1
    device: str = "cpu"

    def __post_init__(self) -> None:
        checks = [
            (_SHORTEST_S <= self.segment_s <= _LONGEST_S, f"segment_s is {self.segment_s}, wanted {_SHORTEST_S} to "
                                                          f"{_LONGEST_S}"),
            (0.0 <= self.prompt_s <= self.segment_s, f"prompt_s is {self.prompt_s}, wanted 0 to segment_s"),
            (0.0 < self.ahead_s <= self.segment_s, f"ahead_s is {self.ahead_s}, wanted more than 0 and at most "
                                                   "segment_s"),
            (self.guidance >= 1.0, f"guidance is {self.guidance}, wanted 1 or more"),
            (self.temperature > 0 and self.top_k >= 1, "temperature and top_k must be positive"),
            (0.0 <= self.patience_s <= 60.0, f"patience_s is {self.patience_s}, wanted 0 to 60"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise GeneratorError(f"MusicGen cannot be asked so: {'; '.join(problems)}; correct them")


class _Order(msgspec.Struct, frozen=True):
    """Of one segment: all that its music depends on; `prompt` is mono float32 at the model's rate."""

    number: int
    seed: int
    embedding: bytes
    prompt: bytes


class _Place(msgspec.Struct, frozen=True):
    """Where the music stands: what is left of the segment that plays, and the next one's order, if there is one."""

    seed: int
    embedding: bytes
    playing: bytes
    last: bytes
    number: int
    kept: bytes
    coming: _Order | None


class MusicgenModel:
    """Implements `realtime.generators.worker_server.WorkerModel`.

    Parameters
    ----------
    model : Any
        `MusicgenForConditionalGeneration`.
    adapter : TextAdapter
        From the embedding to the width of its text encoder.
    settings : MusicgenSettings
        The rest.

    Raises
    ------
    GeneratorError
        The adapter is of another text encoder.
    """

    def __init__(self, model: Any, adapter: TextAdapter, settings: MusicgenSettings) -> None:
        width = int(model.config.text_encoder.d_model)
        if adapter.bias.shape != (width,) or adapter.encoder != checksum(model.text_encoder):
            raise GeneratorError(f"the adapter tells {len(adapter.bias)} numbers of text encoder {adapter.encoder[:16]}"
                                 f", this MusicGen has {width} of {checksum(model.text_encoder)[:16]}; fit another "
                                 "with: innerear generator adapt")
        self._model, self._adapter, self._settings = model.to(settings.device).eval(), adapter, settings
        self._model_hz = int(model.config.audio_encoder.sampling_rate)
        self._codec_hz = int(model.config.audio_encoder.frame_rate)
        self._seam = Seam(self._model_hz, RATE_HZ)
        self._maker = ThreadPoolExecutor(1, "musicgen")
        self._coming: Future[NDArray[np.float32]] | None = None
        self._order: _Order | None = None
        self._delivered = True
        self.begin(0)

    @classmethod
    def open(cls, folder: Path, adapter: Path, settings: MusicgenSettings) -> Self:
        """Load a folder that `save_pretrained` wrote or a download of one, and an adapter.

        Raises
        ------
        GeneratorError
            One of them is not there.
        """
        try:
            model: Any = MusicgenForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise GeneratorError(f"{folder} does not hold a MusicGen model ({str(exc).splitlines()[0]}); give a folder "
                                 "with config.json and model.safetensors, as docs/workers.md says") from exc
        return cls(model, TextAdapter.load(adapter), settings)

    @property
    def name(self) -> str:
        """For people."""
        return f"MusicGen, segments of {self._settings.segment_s:g} s"

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions: the adapter's."""
        return self._adapter.space

    @property
    def rate_hz(self) -> int:
        """48000; the model's own rate is resampled."""
        return RATE_HZ

    @property
    def chunk_frames(self) -> int:
        """Of every chunk."""
        return CHUNK_FRAMES

    def begin(self, seed: int) -> None:
        """Forget all music. What is being made for this seed and was not heard is kept: it may be waited for."""
        if self._order is not None and not self._delivered and self._order.seed == seed:
            return
        self._drop()
        self._seed, self._number, self._delivered = seed, 0, False
        self._embedding = np.zeros(self.space.dim, np.float32)
        self._playing = np.zeros((0, 2), np.float32)
        self._last = np.zeros(0, np.float32)
        self._seam.forget()

    def condition(self, embedding: NDArray[np.float32]) -> None:
        """Sound like this, shape (dim,), from the next segment that is ordered on."""
        self._embedding = np.asarray(embedding, np.float32)

    def chunk(self) -> NDArray[np.float32]:
        """The next chunk, shape (CHUNK_FRAMES, 2).

        Raises
        ------
        GeneratorError
            The next segment is not ready; it goes on being made.
        """
        while len(self._playing) < CHUNK_FRAMES:
            self._take_up()
        chunk, self._playing = self._playing[:CHUNK_FRAMES], self._playing[CHUNK_FRAMES:]
        self._delivered = True
        if self._coming is None and len(self._playing) <= self._settings.ahead_s * RATE_HZ:
            self._place(self._next_order())
        return chunk

    def state(self) -> bytes:
        """All that the coming chunks depend on; music that is being made is made again after a restore."""
        return msgspec.msgpack.encode(_Place(
            self._seed, self._embedding.tobytes(), self._playing.tobytes(), self._last.tobytes(), self._number,
            self._seam.memory(), self._order))

    def restore(self, state: bytes) -> None:
        """Go on from a state; GeneratorError for bytes of something else."""
        try:
            kept = msgspec.msgpack.decode(state, type=_Place)
        except msgspec.MsgspecError as exc:
            raise GeneratorError(f"a state of {len(state)} bytes is not one of MusicGen's ({exc}); begin the music "
                                 "again") from exc
        self._drop()
        self._seed, self._number = kept.seed, kept.number
        self._embedding = np.frombuffer(kept.embedding, np.float32).copy()
        self._playing = np.frombuffer(kept.playing, np.float32).reshape(-1, 2).copy()
        self._last = np.frombuffer(kept.last, np.float32).copy()
        self._seam.remember(kept.kept)
        if kept.coming is not None:
            self._place(kept.coming)

    def _take_up(self) -> None:
        """Append the next segment to what plays."""
        if self._coming is None:
            self._place(self._next_order())
        coming = self._coming
        assert coming is not None
        try:
            made = coming.result(self._settings.patience_s)
        except TimeoutError as exc:
            raise GeneratorError(f"segment {self._number} is not ready; it takes longer than ahead_s "
                                 f"({self._settings.ahead_s:g} s)") from exc
        finally:
            if coming.done():
                self._coming, self._order = None, None
        self._number += 1
        self._playing = np.concatenate([self._playing, to_stereo(self._seam.join(made, self._n_prompt()))])
        self._last = made

    def _next_order(self) -> _Order:
        prompt = self._last[len(self._last) - self._n_prompt():]
        return _Order(self._number, self._seed, self._embedding.tobytes(), np.ascontiguousarray(prompt).tobytes())

    def _n_prompt(self) -> int:
        """Samples of the last segment that the next is told: whole frames of the codec."""
        per_frame = self._model_hz // self._codec_hz
        return min(len(self._last), round(self._settings.prompt_s * self._model_hz)) // per_frame * per_frame

    def _place(self, order: _Order) -> None:
        self._order, self._coming = order, self._maker.submit(self._make, order)

    def _drop(self) -> None:
        """Forget what is being made; the thread finishes it, and nobody listens."""
        if self._coming is not None:
            self._coming.cancel()
        self._coming, self._order = None, None

    def _make(self, order: _Order) -> NDArray[np.float32]:
        """Prompt and new music, mono at the model's rate, shape (n,)."""
        prompt = np.frombuffer(order.prompt, np.float32)
        told = torch.from_numpy(self._adapter.tell(np.frombuffer(order.embedding, np.float32)))[None, None]
        rows = 2 if self._settings.guidance > 1.0 else 1  # the second is what it would play unasked
        hidden, listened = torch.zeros(rows, 1, told.shape[2]), torch.zeros(rows, 1, dtype=torch.long)
        hidden[0], listened[0] = told[0], 1
        device, heard = self._settings.device, dict[str, Any]()
        if len(prompt):
            heard = {"input_values": torch.from_numpy(prompt.copy())[None, None].to(device),
                     "padding_mask": torch.ones(1, len(prompt), dtype=torch.bool, device=device)}
        with _DRAWS, torch.no_grad():
            torch.manual_seed(int(np.random.SeedSequence([order.seed, order.number]).generate_state(1)[0]))
            audio = self._model.generate(
                inputs=torch.ones(1, 1, dtype=torch.long, device=device),  # says only that one piece is wanted
                **heard, encoder_outputs=BaseModelOutput(last_hidden_state=hidden.to(device)),
                attention_mask=listened.to(device),
                do_sample=True, guidance_scale=self._settings.guidance, temperature=self._settings.temperature,
                top_k=self._settings.top_k, max_new_tokens=self._n_new_tokens())
        samples: NDArray[np.float32] = audio[0].mean(dim=0).float().cpu().numpy()
        return samples

    def _n_new_tokens(self) -> int:
        return round(self._settings.segment_s * self._codec_hz)
