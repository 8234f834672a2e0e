"""What a generator remembers, as bytes: numbers, texts and arrays, bit for bit, never code."""

import json
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import GeneratorError

Memory = dict[str, Any]


class _State(msgspec.Struct, frozen=True):
    kind: str
    memory: Any


def pack_state(kind: str, memory: Memory) -> bytes:
    """Bytes of a memory made of dicts with text keys, lists, numbers, texts, None and arrays.

    Parameters
    ----------
    kind : str
        Whose memory it is, settings included: it goes back into nothing else.
    memory : dict
        What to keep.
    """
    return msgspec.msgpack.encode(_State(kind, memory), enc_hook=_from_array)


def unpack_state(kind: str, state: bytes) -> Memory:
    """The memory that `pack_state` wrote; arrays are new ones.

    Raises
    ------
    GeneratorError
        The bytes are damaged, or of another kind.
    """
    try:
        read = msgspec.msgpack.decode(state, type=_State)
        if read.kind != kind:
            raise GeneratorError(f"a generator's state is of {read.kind!r}, wanted {kind!r}; restore it into the "
                                 "generator it came from, with the same model and settings")
        memory: Memory = _to_arrays(read.memory)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError) as exc:
        raise GeneratorError(f"a generator's state of {len(state)} bytes cannot be read ({exc}); begin the music "
                             "again from its seed") from exc
    return memory


def pack_random(rng: np.random.Generator) -> str:
    """Where a random generator stands, as text: its numbers are longer than 64 bits."""
    return json.dumps(rng.bit_generator.state, sort_keys=True)


def unpack_random(text: str) -> np.random.Generator:
    """The random generator that `pack_random` wrote."""
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = json.loads(text)
    return rng


def _from_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array: NDArray[Any] = np.ascontiguousarray(value)
        return {"__array__": [array.dtype.str, list(array.shape), array.tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    message = f"{type(value).__name__} does not go into a generator's state"
    raise NotImplementedError(message)


def _to_arrays(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_arrays(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"__array__"}:
        dtype, shape, data = value["__array__"]
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
    return {key: _to_arrays(item) for key, item in value.items()}
