"""One Siemens mosaic DICOM file: one volume, its slices laid out as tiles of one picture.

Voxels come out in the orientation dcm2niix gives them (columns, rows from the last to the first,
slices), so that a live run and its converted recording share one grid. The geometry of the tiles is
nibabel's (`nibabel.nicom`, documented there under "dicom_mosaic"); TR, slice times and the announced
length come from the file's own headers (CSA: NumberOfImagesInMosaic, MosaicRefAcqTimes, lRepetitions).
"""

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # the module warns of itself on import
    from nibabel.nicom import csareader, dicomwrappers

_open_wrapper: Any = dicomwrappers.wrapper_from_data  # nibabel's readers are not typed
_read_csa: Any = csareader.get_csa_header

_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
_NATIVE_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_REPETITIONS = re.compile(r"^lRepetitions\s*=\s*(\d+)", re.MULTILINE)
_PATIENT_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class MosaicVolume:
    """One volume of a series.

    Attributes
    ----------
    uid : str
        SOPInstanceUID: the same image copied twice has the same.
    series_uid, series_number : str, int
        The series it belongs to.
    index : int
        InstanceNumber - 1.
    data : uint16 or int16 array of shape (nx, ny, nz)
        Stored values.
    affine : float64 array of shape (4, 4)
        Voxel index to millimetres, RAS+.
    tr_s : float
        Repetition time.
    slice_times_s : tuple of float or None
        Start of each slice after the start of the volume.
    n_volumes : int or None
        Volumes the protocol announces.
    slope, inter : float
        Rescale slope and intercept.
    """

    uid: str
    series_uid: str
    series_number: int
    index: int
    data: NDArray[Any]
    affine: NDArray[np.float64]
    tr_s: float
    slice_times_s: tuple[float, ...] | None
    n_volumes: int | None
    slope: float
    inter: float

    @property
    def run_id(self) -> str:
        """The series under a name that tells repeated series apart and leads to no one: number, hash of its UID."""
        return f"series-{self.series_number}-{hashlib.sha256(self.series_uid.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class NoVolume:
    """Why a file gave no volume.

    Attributes
    ----------
    kind : {"unfinished", "foreign", "unsupported"}
        unfinished: still being written, or damaged. foreign: no MR image at all. unsupported: an MR
        image of a kind that cannot be read.
    reason : str
        For people.
    """

    kind: Literal["unfinished", "foreign", "unsupported"]
    reason: str


def read_mosaic(path: Path) -> MosaicVolume | NoVolume:
    """The volume in a file, or why there is none. Raises nothing, whatever the file holds."""
    try:
        return _read(path)
    except InvalidDicomError:
        return NoVolume("foreign", f"{path.name} is not DICOM")
    except Exception as error:  # cut or damaged anywhere, a file makes pydicom and nibabel raise nearly anything
        return NoVolume("unfinished", f"{path.name} cannot be read ({str(error) or type(error).__name__})")


def _read(path: Path) -> MosaicVolume | NoVolume:
    dataset = pydicom.dcmread(path)
    sop_class = str(dataset.file_meta.get("MediaStorageSOPClassUID", dataset.get("SOPClassUID", "")))
    if sop_class not in (_MR_IMAGE, _ENHANCED_MR_IMAGE):
        return NoVolume("foreign", f"{path.name} is not an MR image")
    if "PixelData" not in dataset:
        return NoVolume("unfinished", f"{path.name} has no pixel data yet")
    refusal = _unsupported(dataset, sop_class)
    if refusal is not None:
        return NoVolume("unsupported", f"{path.name}: {refusal}")
    wanted = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8 * int(dataset.get("NumberOfFrames", 1) or 1)
    if len(dataset.PixelData) < wanted:
        return NoVolume("unfinished", f"{path.name} has {len(dataset.PixelData)} of {wanted} bytes of pixels")
    return _volume(dataset)


def _unsupported(dataset: Any, sop_class: str) -> str | None:
    """What kind of MR image this is, when it is not one that can be read."""
    maker = str(dataset.get("Manufacturer", "unknown maker")).strip()
    syntax = dataset.file_meta.get("TransferSyntaxUID", _NATIVE_SYNTAXES[0])
    if sop_class == _ENHANCED_MR_IMAGE:
        return f"enhanced multi-frame image of {maker}"
    if "SIEMENS" not in maker.upper():
        return f"image of {maker}"
    if "MOSAIC" not in (dataset.get("ImageType") or []):
        return f"{maker} image that is not a mosaic"
    if syntax not in _NATIVE_SYNTAXES:
        return f"{maker} mosaic with compressed pixels ({getattr(syntax, 'name', syntax)})"
    return None


def _volume(dataset: Any) -> MosaicVolume:
    wrapper = _open_wrapper(dataset)
    if not wrapper.is_mosaic:
        raise ValueError("its private CSA header is missing")
    # Rows of the picture run from anterior to posterior; dcm2niix stores them the other way round.
    data = wrapper.get_unscaled_data().transpose(1, 0, 2)[:, ::-1, :]
    flip = np.array([[0, -1, 0, data.shape[1] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float64)
    tr_s = float(dataset.RepetitionTime) / 1000
    index = int(dataset.InstanceNumber) - 1
    if tr_s <= 0 or index < 0:
        raise ValueError(f"TR of {tr_s} s, InstanceNumber {index + 1}")
    return MosaicVolume(
        uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        series_number=int(dataset.SeriesNumber),
        index=index,
        data=data,
        affine=_PATIENT_TO_RAS @ wrapper.affine @ flip,
        tr_s=tr_s,
        slice_times_s=_slice_times(wrapper.csa_header, data.shape[2]),
        n_volumes=_announced_volumes(dataset),
        slope=float(dataset.get("RescaleSlope", 1.0)),
        inter=float(dataset.get("RescaleIntercept", 0.0)),
    )


def _slice_times(csa: Any, n_slices: int) -> tuple[float, ...] | None:
    times_ms = csa["tags"].get("MosaicRefAcqTimes", {}).get("items", [])
    if len(times_ms) != n_slices:
        return None
    first_ms = min(times_ms)  # some releases state times of day
    return tuple(round((time_ms - first_ms) / 1000, 6) for time_ms in times_ms)


def _announced_volumes(dataset: Any) -> int | None:
    """Repetitions of the protocol text in the CSA series header, plus the first."""
    series = _read_csa(dataset, "series")
    items = series["tags"].get("MrPhoenixProtocol", {}).get("items", []) if series else []
    found = _REPETITIONS.search(str(items[0])) if items else None
    return int(found.group(1)) + 1 if found else None
