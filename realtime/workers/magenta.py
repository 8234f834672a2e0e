"""Magenta RealTime 2 as a worker: the decoded MusicCoCa vector is the style, 40 ms frames of 48 kHz come out.

Needs the package `magenta-rt` (2.0.3 was read) with its jax or mlx extra and its checkpoints on this
machine; see docs/workers.md. A style vector becomes twelve tokens, coarse to fine, for every frame.
What is decoded from a brain is right in the coarse ones at best: only the first are told, the
others are masked (-1), as the package does with missing tokens.

The package draws from a fixed key and takes no seed: with the same conditions at the same chunks
the same music comes, whatever the seed.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import GeneratorError
from realtime.messages import EmbeddingSpace

STYLE_KEY = "mulan_tokens_25hz"
N_STYLE_TOKENS = 12
STYLE_DIM = 768
RATE_HZ = 48000
FRAME_SAMPLES = 1920
MASKED = -1
_MOST_FRAMES = 6  # the live side takes chunks of 0.25 s at most


@dataclass(frozen=True)
class MagentaSettings:
    """How Magenta RealTime 2 is asked.

    Attributes
    ----------
    size : str
        "mrt2_small" or "mrt2_base", whose checkpoint the package finds.
    backend : str
        "jax" (NVIDIA, CPU) or "mlx" (Apple).
    frames_per_chunk : int
        Of 40 ms each, 1 to 6: what a new condition waits for.
    style_tokens : int
        The first so many of twelve are told.
    guidance : float
        Scale of classifier-free guidance by the style, -1 to 7.
    temperature : float
        Of sampling.
    top_k : int
        Likeliest tokens that are drawn from.
    gain_db : float
        Of the music; the package's own is made to leave headroom.
    """

    size: str = "mrt2_small"
    backend: Literal["jax", "mlx"] = "jax"
    frames_per_chunk: int = 3
    style_tokens: int = N_STYLE_TOKENS
    guidance: float = 3.0
    temperature: float = 1.3
    top_k: int = 40
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        checks = [
            (self.backend in ("jax", "mlx"), f"backend is {self.backend!r}, wanted jax or mlx"),
            (1 <= self.frames_per_chunk <= _MOST_FRAMES, f"frames_per_chunk is {self.frames_per_chunk}, wanted 1 to "
                                                         f"{_MOST_FRAMES}"),
            (1 <= self.style_tokens <= N_STYLE_TOKENS, f"style_tokens is {self.style_tokens}, wanted 1 to "
                                                       f"{N_STYLE_TOKENS}"),
            (-1.0 <= self.guidance <= 7.0, f"guidance is {self.guidance}, wanted -1 to 7"),
            (self.temperature > 0 and self.top_k >= 1, "temperature and top_k must be positive"),
            (-60.0 <= self.gain_db <= 20.0, f"gain_db is {self.gain_db}, wanted -60 to 20"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            raise GeneratorError(f"Magenta RealTime cannot be asked so: {'; '.join(problems)}; correct them")


class MagentaModel:
    """Implements `realtime.generators.worker_server.WorkerModel`.

    Parameters
    ----------
    system : Any
        `magenta_rt.MagentaRT2Jax` or `MagentaRT2Mlx`: asked for `tokenize_style` and `generate`.
    space : EmbeddingSpace
        Of the conditions: the corpus's, of 768 dimensions.
    length : float
        That conditions are brought to: a decoded vector is shorter than a heard one, and tokens know length.
    settings : MagentaSettings
        The rest.

    Raises
    ------
    GeneratorError
        The space is not of 768 dimensions.
    """

    def __init__(self, system: Any, space: EmbeddingSpace, length: float, settings: MagentaSettings) -> None:
        if space.dim != STYLE_DIM:
            raise GeneratorError(f"Magenta RealTime takes MusicCoCa's {STYLE_DIM} dimensions, the corpus is of {space}"
                                 "; index it with MusicCoCa's vectors: innerear corpus index --vectors")
        self._system, self._space, self._length, self._settings = system, space, length, settings
        self._tokens = [MASKED] * N_STYLE_TOKENS
        self._state: Any = None

    @classmethod
    def open(cls, space: EmbeddingSpace, length: float, settings: MagentaSettings) -> Self:
        """Load the package's model, and let it compile before anyone waits for it.

        Raises
        ------
        GeneratorError
            The package, its extra or the checkpoint is missing.
        """
        try:
            import magenta_rt  # noqa: PLC0415 - an environment of its own, minutes of compiling

            made = magenta_rt.MagentaRT2Jax if settings.backend == "jax" else magenta_rt.MagentaRT2Mlx
            system = made(size=settings.size, temperature=settings.temperature, top_k=settings.top_k)
        except (ImportError, OSError, ValueError) as exc:
            raise GeneratorError(f"Magenta RealTime cannot be loaded ({exc}); install it with: pip install "
                                 f"'magenta-rt[{settings.backend}]', and fetch {settings.size} as docs/workers.md "
                                 "says") from exc
        model = cls(system, space, length, settings)
        model.chunk()
        model.begin(0)
        return model

    @property
    def name(self) -> str:
        """For people."""
        return f"Magenta RealTime 2 {self._settings.size}, {self._settings.style_tokens} style tokens"

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        return self._space

    @property
    def rate_hz(self) -> int:
        """48000."""
        return RATE_HZ

    @property
    def chunk_frames(self) -> int:
        """Of every chunk."""
        return FRAME_SAMPLES * self._settings.frames_per_chunk

    def begin(self, seed: int) -> None:
        """Forget all music; the package takes no seed."""
        self._state, self._tokens = None, [MASKED] * N_STYLE_TOKENS

    def condition(self, embedding: NDArray[np.float32]) -> None:
        """Sound like this, shape (768,), from the next chunk on."""
        norm = float(np.linalg.norm(embedding))
        style = np.asarray(embedding * np.float32(self._length / norm if norm else 0.0), np.float32)
        told = [int(token) for token in self._system.tokenize_style(style)]
        kept = told[: self._settings.style_tokens]
        self._tokens = kept + [MASKED] * (N_STYLE_TOKENS - len(kept))

    def chunk(self) -> NDArray[np.float32]:
        """The next chunk, shape (chunk_frames, 2).

        Raises
        ------
        GeneratorError
            The package gives other sound than its documentation says.
        """
        waveform, state = self._system.generate(
            conditioning={STYLE_KEY: list(self._tokens)}, cfg_scales={"musiccoca": self._settings.guidance},
            frames=self._settings.frames_per_chunk, state=self._state)
        samples = np.asarray(waveform.samples, np.float32)
        if waveform.sample_rate != RATE_HZ or samples.shape != (self.chunk_frames, 2):
            raise GeneratorError(f"Magenta RealTime gave {samples.shape} samples at {waveform.sample_rate} Hz, wanted "
                                 f"({self.chunk_frames}, 2) at {RATE_HZ} Hz; use the version in docs/workers.md")
        self._state = state
        return samples * np.float32(10 ** (self._settings.gain_db / 20))

    def state(self) -> bytes:
        """Tokens and the package's streaming state, leaf by leaf; GeneratorError with mlx, which tells no structure."""
        leaves = [] if self._state is None else [_packed(leaf) for leaf in self._trees().tree_leaves(self._state)]
        return msgspec.msgpack.encode({"tokens": self._tokens, "begun": self._state is not None, "leaves": leaves})

    def restore(self, state: bytes) -> None:
        """Go on from a state; GeneratorError for bytes of something else."""
        try:
            kept = msgspec.msgpack.decode(state)
            tokens, leaves = [int(token) for token in kept["tokens"]], [_unpacked(leaf) for leaf in kept["leaves"]]
            begun = bool(kept["begun"])
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as exc:
            raise GeneratorError(f"a state of {len(state)} bytes is not one of Magenta RealTime's ({exc}); begin the "
                                 "music again") from exc
        self._state = self._shaped(leaves) if begun else None
        self._tokens = tokens

    def _shaped(self, leaves: list[NDArray[Any]]) -> Any:
        """The leaves in the structure of this package's states, which one frame from nothing shows."""
        _, fresh = self._system.generate(conditioning={STYLE_KEY: [MASKED] * N_STYLE_TOKENS}, frames=1, state=None)
        known, structure = self._trees().tree_flatten(fresh)
        wanted = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in known]
        if wanted != [(leaf.shape, leaf.dtype) for leaf in leaves]:
            raise GeneratorError("a state of another model of Magenta RealTime; restore it where it came from")
        return self._trees().tree_unflatten(structure, leaves)

    def _trees(self) -> Any:
        if self._settings.backend != "jax":
            raise GeneratorError("music that plays cannot be kept as a state with mlx; begin it again, or use jax")
        import jax  # noqa: PLC0415 - comes with the package

        return jax.tree_util


def _packed(leaf: Any) -> list[Any]:
    array = np.asarray(leaf)
    return [array.dtype.name, list(array.shape), array.tobytes()]  # by name: jax's own types have no other


def _unpacked(kept: Any) -> NDArray[Any]:
    dtype, shape, content = kept
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape).copy()
