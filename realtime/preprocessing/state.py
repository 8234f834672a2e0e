"""Everything a preprocessor remembers, as one value that goes to disk and back without loss."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from realtime.errors import VolumeError
from realtime.preprocessing.nuisance import NuisanceState
from realtime.preprocessing.scaling import ScalerState
from realtime.preprocessing.settings import PreprocessorSettings

FORMAT = "innerear-preprocessor-3"
_DTYPES = {"reference": "<f4", "affine": "<f8", "voxels": "<i4", "feature_scale": "<f4", "rotation": "<f8",
           "position": "<f8", "mean": "<f8", "spread": "<f8", "last_samples": "<f4", "regressor_mean": "<f8",
           "regressor_cross": "<f8", "voxel_cross": "<f8", "poses": "<f8", "tissues": "|u1"}


@dataclass(frozen=True, eq=False)
class PreprocessorState:
    """Self-contained: `Preprocessor.restore` needs nothing else and goes on bit for bit.

    Attributes
    ----------
    settings : PreprocessorSettings
    reference : float32 array of shape (nx, ny, nz)
    affine : float64 array of shape (4, 4)
    voxels : int32 array of shape (n_voxels, 3)
    feature_scale : float32 array of shape (n_voxels,) or None
    rotation : float64 array of shape (3, 3)
        Of the last trusted pose.
    position : float64 array of shape (3,)
        Where the head's centre last was, millimetres.
    gain : float
        Last trusted volume / reference intensity.
    residual : float
        Last trusted residual, fraction of variance.
    aligned : bool
        Whether any volume has been aligned yet; if not, the four above say nothing.
    mean, spread : float64 arrays of shape (n_voxels,)
        Running mean and mean squared deviation.
    count : float
        Volumes the statistics stand for.
    elapsed : int
        Volumes since the run's start, lost ones included.
    last_samples : float32 array of shape (n_voxels,) or None
        Intensities of the last volume that came, before slice timing; None before the first.
    volumes_since : int
        Lost ones since then.
    regressor_mean, regressor_cross, voxel_cross, poses : float64 arrays or None
        Of `NuisanceState`; None without a regression.
    tissues : uint8 array of shape (nx, ny, nz) or None
        0, 1 white matter, 2 cerebrospinal fluid; None where their means are not asked for.
    """

    settings: PreprocessorSettings
    reference: NDArray[np.float32]
    affine: NDArray[np.float64]
    voxels: NDArray[np.int32]
    feature_scale: NDArray[np.float32] | None
    rotation: NDArray[np.float64]
    position: NDArray[np.float64]
    gain: float
    residual: float
    aligned: bool
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: float
    elapsed: int
    last_samples: NDArray[np.float32] | None
    volumes_since: int
    regressor_mean: NDArray[np.float64] | None
    regressor_cross: NDArray[np.float64] | None
    voxel_cross: NDArray[np.float64] | None
    poses: NDArray[np.float64] | None
    tissues: NDArray[np.uint8] | None

    def scaler(self) -> ScalerState:
        """The part of it that the scaler remembers."""
        nuisance = None
        if self.regressor_mean is not None and self.regressor_cross is not None and self.voxel_cross is not None:
            nuisance = NuisanceState(self.regressor_mean, self.regressor_cross, self.voxel_cross, self.poses)
        return ScalerState(self.mean, self.spread, self.count, self.elapsed, nuisance)

    def to_bytes(self) -> bytes:
        """MessagePack: numbers as they are, arrays as little-endian bytes with their shape."""
        document: dict[str, Any] = {"format": FORMAT, "settings": asdict(self.settings)}
        for name in (field.name for field in fields(self) if field.name != "settings"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value = {"shape": value.shape, "data": np.ascontiguousarray(value, _DTYPES[name]).tobytes()}
            document[name] = value
        return msgspec.msgpack.encode(document)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "PreprocessorState":
        """Read back what `to_bytes` wrote.

        Raises
        ------
        VolumeError
            The bytes are damaged, or another format.
        """
        try:
            document = msgspec.msgpack.decode(payload)
            if document.pop("format") != FORMAT:
                raise ValueError("another format")
            settings = PreprocessorSettings(**document.pop("settings"))
            return cls(settings=settings, **{name: _value(name, value) for name, value in document.items()})
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as exc:
            raise VolumeError(f"not a preprocessor state of format {FORMAT} ({exc}); "
                              "rebuild it by replaying the run's journal") from exc


def _value(name: str, value: Any) -> Any:
    if name not in _DTYPES or value is None:
        return value
    return np.frombuffer(value["data"], _DTYPES[name]).reshape(value["shape"]).astype(_DTYPES[name][1:])
