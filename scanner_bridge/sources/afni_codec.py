"""AFNI's real-time protocol: control line, header commands, image bytes; bytes to values and back, no sockets.

After AFNI's README.realtime and what `Dimon` and `rtfeedme` send. The sender connects to the control port
(7954) and names the data channel, ``tcp:HOST:PORT``; there it sends commands, one per line, ended by a NUL,
and after them bare images with neither headers nor indices. The run ends with the connection, or with a
block of the size of an image that begins with `END_MARKER`. Notes, prefixes and commands to AFNI's windows
are read past: they may hold names, and nothing of them leaves this module.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ProtocolError
from scanner_bridge.sources.grid import Grid, affine_of

DEFAULT_PORT = 7954
DATA_PORT = 7953
END_MARKER = b"Et Earello Endorenna utulien!!"
MAX_CONTROL_BYTES = 4096
MAX_COMMAND_BYTES = 256 * 1024

_TYPES = {"short": "i2", "int": "i4", "float": "f4", "byte": "u1"}
_NAMES = {"i2": "short", "i4": "int", "f4": "float", "u1": "byte"}
_ORDERS = {"LSB_FIRST": "<", "MSB_FIRST": ">"}
_BY_SLICE = ("2D+z", "2D+zt")
_TOWARDS = {"R": (0, 1.0), "L": (0, -1.0), "A": (1, 1.0), "P": (1, -1.0), "S": (2, 1.0), "I": (2, -1.0)}
"""Axis of RAS+, and the sign of a coordinate on that side."""

_DICOM_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_axis_codes: Any = nibabel.aff2axcodes  # nibabel is not typed


@dataclass(frozen=True, eq=False)
class AfniRun:
    """What a sender says of a run before its first image.

    Attributes
    ----------
    grid : Grid
        Shape, type with byte order, position and repetition time.
    slice_order : tuple of int
        Slice numbers in the order in which they are sent; empty when whole volumes are.
    slice_times_s : tuple of float or None
        What ``TPATTERN explicit`` lists.
    n_channels : int
        Images of so many channels (echoes) alternate; the first is the run.
    """

    grid: Grid
    slice_order: tuple[int, ...] = ()
    slice_times_s: tuple[float, ...] | None = None
    n_channels: int = 1

    @property
    def n_image_bytes(self) -> int:
        """Bytes of what is sent at once: a slice, or a volume."""
        return self.grid.n_bytes // (self.grid.shape[2] if self.slice_order else 1)


def decode_control(data: bytes) -> int | None:
    """The port of the data channel that a control message names, or None when more bytes are needed.

    Raises
    ------
    ProtocolError
        No control message, or one for a channel that is not TCP.
    """
    if b"\0" not in data:
        if not _printable(data):
            raise ProtocolError(f"it begins with {data[:12].hex(' ')}, wanted 'tcp:HOST:PORT' of an AFNI sender")
        return None
    line = data.split(b"\0", 1)[0].split(b"\n", 1)[0].decode("latin-1").strip()
    kind, _, rest = line.partition(":")
    if kind == "shm":
        raise ProtocolError("it wants to send through shared memory, wanted tcp: start Dimon or rtfeedme with -host")
    port = rest.rpartition(":")[2]
    if kind != "tcp" or not port.isascii() or not port.isdigit() or not 1024 <= int(port[:6]) <= 65535:
        raise ProtocolError("it names no data channel, wanted tcp:HOST:PORT with a port from 1024")
    return int(port)


def encode_control(host: str, port: int) -> bytes:
    """What a sender writes to the control port."""
    return f"tcp:{host}:{port}\0".encode("ascii")


def decode_commands(data: bytes) -> AfniRun | None:
    """The run that the commands at the start of `data` describe, or None when their NUL has not come.

    Raises
    ------
    ProtocolError
        A command that is needed is missing, or one cannot be read.
    """
    if b"\0" not in data:
        if not _printable(data):
            raise ProtocolError(f"it begins with {data[:12].hex(' ')}, wanted the header commands of an AFNI sender")
        return None
    commands = _Commands(data[: data.index(0)].decode("latin-1"))
    matrix = commands.numbers("XYMATRIX", int, 2, 3)
    shape = (matrix[0], matrix[1], matrix[2] if len(matrix) > 2 else commands.numbers("ZNUM", int, 1, 1)[0])
    datum = commands.word("DATUM", "short")
    if datum not in _TYPES:
        raise ProtocolError(f"its DATUM is not known, wanted one of {', '.join(_TYPES)}")
    order = _ORDERS.get(commands.word("BYTEORDER", "LSB_FIRST"))
    if order is None:
        raise ProtocolError("its BYTEORDER is neither LSB_FIRST nor MSB_FIRST")
    tr_s = commands.numbers("TR", float, 1, 1, (1.0,))[0]
    grid = Grid(shape, np.dtype(order + _TYPES[datum]).str, _affine(commands, shape), tr_s)
    n_channels = commands.numbers("NUM_CHAN", int, 1, 1, (1,))[0]
    if not 1 <= n_channels <= 32:
        raise ProtocolError(f"NUM_CHAN is {n_channels}, wanted 1 to 32")
    run = AfniRun(grid, _slice_order(commands, shape[2]), _slice_times(commands, shape[2]), n_channels)
    if run.n_image_bytes < len(END_MARKER):
        raise ProtocolError(f"its images have {run.n_image_bytes} bytes; the end of a run would not fit into one")
    return run


def encode_commands(run: AfniRun) -> bytes:
    """The commands of a sender that knows the exact position (``OBLIQUE_XFORM``), as Dimon's do."""
    grid = run.grid
    sizes_mm = np.linalg.norm(grid.affine[:3, :3], axis=0) * grid.shape
    dicom = _DICOM_TO_RAS @ grid.affine
    towards: tuple[str, ...] = _axis_codes(grid.affine)
    lines = [
        *([f"NUM_CHAN {run.n_channels}"] if run.n_channels > 1 else []),
        f"ACQUISITION_TYPE {'2D+zt' if run.slice_order else '3D+timing'}",
        f"ZORDER {'seq' if run.slice_order == tuple(range(grid.shape[2])) or not run.slice_order else 'alt'}",
        *([f"TPATTERN explicit {_spaced(run.slice_times_s)}"] if run.slice_times_s else []),
        f"TR {grid.tr_s:.6f}",
        f"XYFOV {_spaced(sizes_mm)}",
        f"XYMATRIX {' '.join(map(str, grid.shape))}",
        f"DATUM {_NAMES[grid.dtype[1:]]}",
        f"XYZAXES {' '.join(f'{_OPPOSITE[code]}-{code}' for code in towards)}",
        f"BYTEORDER {'MSB_FIRST' if grid.dtype[0] == '>' else 'LSB_FIRST'}",
        f"OBLIQUE_XFORM {_spaced(dicom.ravel())}",
    ]
    return "\n".join([*lines, ""]).encode("ascii") + b"\0"


def decode_image(data: bytes | bytearray, run: AfniRun) -> NDArray[Any]:
    """Voxels of one volume, little-endian, from its bytes; slices are put where they belong.

    Raises
    ------
    ProtocolError
        Not as many bytes as a volume has.
    """
    voxels = run.grid.voxels(data, "F")
    if not run.slice_order:
        return voxels
    ordered = np.empty_like(voxels)
    ordered[:, :, list(run.slice_order)] = voxels
    return ordered


def encode_image(voxels: NDArray[Any], run: AfniRun) -> bytes:
    """One volume as it is sent: x runs fastest, slices in the order of the run."""
    if run.slice_order:
        voxels = voxels[:, :, list(run.slice_order)]
    return voxels.astype(run.grid.dtype, copy=False).tobytes(order="F")


def encode_end(run: AfniRun) -> bytes:
    """The block that ends a run without ending the connection."""
    return END_MARKER.ljust(run.n_image_bytes, b"\0")


_TEXT_BYTES = bytes((*range(32, 256), *b"\n\r\t\a\f"))
_TOO_MUCH = 1e9
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


def _spaced(values: Any) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _printable(data: bytes) -> bool:
    return not data.translate(None, _TEXT_BYTES)


class _Commands:
    """The lines of a header: name and arguments; the last of a name counts, as in AFNI."""

    def __init__(self, text: str) -> None:
        lines = [line.split() for line in text.splitlines()]
        self._arguments = {words[0]: words[1:] for words in lines if words}

    def __contains__(self, name: str) -> bool:
        return name in self._arguments

    def words(self, name: str, at_least: int, at_most: int) -> list[str]:
        """Arguments of a command that must be there."""
        words = self._arguments.get(name)
        if words is None:
            raise ProtocolError(f"its header has no {name}, which is required")
        if len(words) < at_least:
            raise ProtocolError(f"{name} has {len(words)} values, wanted {at_least}")
        return words[:at_most]

    def word(self, name: str, otherwise: str) -> str:
        """The first argument of a command, if it is there."""
        return self.words(name, 1, 1)[0] if name in self else otherwise

    def numbers(
        self,
        name: str,
        kind: Callable[[str], Any],
        at_least: int,
        at_most: int,
        otherwise: tuple[Any, ...] | None = None,
    ) -> tuple[Any, ...]:
        """Arguments of a command as finite numbers."""
        if otherwise is not None and name not in self:
            return otherwise
        words = self.words(name, at_least, at_most)
        try:
            values = tuple(kind(word) for word in words)
        except ValueError:
            raise ProtocolError(f"{name} holds words, wanted numbers") from None
        if not all(abs(value) < _TOO_MUCH for value in values):  # neither is a NaN
            raise ProtocolError(f"{name} holds numbers beyond reason, wanted finite ones below {_TOO_MUCH:g}")
        return values


def _affine(commands: _Commands, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Voxel index to RAS+: of OBLIQUE_XFORM (DICOM's LPS+), else of the field of view and the axes."""
    if "OBLIQUE_XFORM" in commands:
        return _DICOM_TO_RAS @ affine_of(commands.numbers("OBLIQUE_XFORM", float, 16, 16))
    axes = [code.replace("-", "") for code in commands.words("XYZAXES", 3, 3)]
    known = all(len(code) == 2 and code[0] in _TOWARDS and _OPPOSITE[code[0]] == code[1] for code in axes)
    if not known or len({_TOWARDS[code[1]][0] for code in axes}) != 3:
        raise ProtocolError("XYZAXES names no three axes, wanted one of R-L, A-P and I-S each, or opposites")
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (code, step_mm, first) in enumerate(
        zip(axes, _steps_mm(commands, shape), _firsts(commands), strict=True)
    ):
        row, sign = _TOWARDS[code[1]]
        affine[row, column] = sign * step_mm
        affine[row, 3] = -sign * step_mm * (shape[column] - 1) / 2 if first is None else _coordinate(first, code)
    return affine


def _steps_mm(commands: _Commands, shape: tuple[int, int, int]) -> tuple[float, ...]:
    fov = [abs(size) for size in commands.numbers("XYFOV", float, 2, 3)]
    fov[1] = fov[1] or fov[0]
    fov[2:] = fov[2:] or [abs(commands.numbers("ZDELTA", float, 1, 1)[0]) * shape[2]]
    return tuple(size / max(extent, 1) for size, extent in zip(fov, shape, strict=True))


def _firsts(commands: _Commands) -> tuple[str | None, ...]:
    """Where the first voxel lies along each axis, as it is written; None where the volume is centred."""
    if "XYZFIRST" in commands:
        return tuple(commands.words("XYZFIRST", 3, 3))
    return (None, None, commands.word("ZFIRST", "") or None)


def _coordinate(first: str, code: str) -> float:
    """A position such as ``30``, ``20A``: without a letter it lies on the side where its axis begins."""
    side = first[-1:].upper() if first[-1:].upper() in _TOWARDS else ""
    try:
        value_mm = float(first[: len(first) - len(side)])
    except ValueError:
        value_mm = math.nan
    if (side and side not in code) or not math.isfinite(value_mm):
        raise ProtocolError(f"a first position is no position, wanted millimetres and {code[0]} or {code[1]}")
    return value_mm * _TOWARDS[side or code[0]][1]


def _slice_order(commands: _Commands, n_slices: int) -> tuple[int, ...]:
    if commands.word("ACQUISITION_TYPE", "2D+zt") not in _BY_SLICE:
        return ()
    slices = tuple(range(n_slices))
    return slices if commands.word("ZORDER", "alt") == "seq" else slices[::2] + slices[1::2]


def _slice_times(commands: _Commands, n_slices: int) -> tuple[float, ...] | None:
    if commands.word("TPATTERN", "") != "explicit":
        return None
    times: tuple[float, ...] = commands.numbers("TPATTERN", _time, n_slices + 1, n_slices + 1)[1:]
    return times


def _time(word: str) -> float:
    return 0.0 if word == "explicit" else float(word)
