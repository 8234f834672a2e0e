"""One Philips PAR/REC pair, as real-time dumps write them volume by volume, or a whole run in one pair.

Geometry and scale are nibabel's (`nibabel.parrec`): the affine of the general header, which a real-time
dump leaves blank, so that its volumes lie around the origin; displayed values = REC × slope + intercept,
slice by slice. Of the pair only `PAR_GENERAL` and `PAR_IMAGE` fields are used, none of them free text.
"""

import io
import re
import warnings
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from scanner_bridge.errors import ForeignError, SkippedError, UnfinishedError
from scanner_bridge.sources.dicom_image import Acquisition, Image, Slices, index_of

PAR_GENERAL = ("acq_nr", "max_slices", "max_dynamics", "repetition_time", "angulation", "off_center")
PAR_IMAGE = (
    "slice number", "echo number", "dynamic scan number", "image_type_mr", "index in REC file", "image pixel size",
    "recon resolution", "rescale intercept", "rescale slope", "slice thickness", "slice gap", "slice orientation",
    "pixel spacing", "dyn_scan_begin_time",
)  # fmt: skip

_START = b"# === DATA DESCRIPTION FILE"
_END = re.compile(rb"# === END OF DATA DESCRIPTION FILE =*[\r\n]*")
_MAGNITUDE = (0, 16)
"""image_type_mr: 0 is M of an export, 16 that of a real-time dump (17 is its phase)."""
_SHORTEST_TR_S = 0.05
_PATIENT_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_parrec: Any = nibabel.parrec  # nibabel is not typed


def is_par(content: bytes) -> bool:
    """Whether bytes begin as a PAR file does."""
    return content.startswith(_START)


def read_par_rec(content: bytes, scope: str) -> Image:
    """The magnitude volumes of a pair.

    Parameters
    ----------
    content : bytes
        The PAR file, and behind it the REC file.
    scope : str
        Names the run: a PAR file does not.

    Raises
    ------
    ForeignError
        No PAR file.
    UnfinishedError
        Either file ends early, or is damaged.
    SkippedError
        There is no magnitude image in it.
    """
    if not is_par(content):
        raise ForeignError("it is not PAR/REC")
    end = _END.search(content)
    if end is None:
        raise UnfinishedError("its PAR file has no end yet")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they repeat header values
            general, images = _parrec.parse_PAR_header(io.StringIO(content[: end.end()].decode("latin-1")))
            return _image(general, images, memoryview(content)[end.end() :], scope)
    except (UnfinishedError, SkippedError):
        raise
    except Exception as error:  # damaged, it makes nibabel raise nearly anything
        raise UnfinishedError("its PAR file is damaged") from error


def _image(general: dict[str, Any], images: Any, rec: memoryview, scope: str) -> Image:
    kinds = {int(kind) for kind in images["image_type_mr"]}
    magnitude = next((kind for kind in _MAGNITUDE if kind in kinds), None)
    if magnitude is None:
        raise SkippedError("phase", "it holds no magnitude image")
    kept = images[(images["image_type_mr"] == magnitude) & (images["echo number"] == images["echo number"].min())]
    stored = _stored(images, rec)
    dynamics = sorted({int(number) for number in kept["dynamic scan number"]})
    several = int(general["max_dynamics"]) > 1 or dynamics != [1]
    affine = _affine(general, images)
    run = _acquisition(general, affine, kept, scope, int(general["max_dynamics"]) if several else None)
    volumes = []
    for dynamic in dynamics:
        of_volume = kept[kept["dynamic scan number"] == dynamic]
        number = dynamic if several else int(general["acq_nr"])  # a dump counts its volumes as acquisitions
        volumes.append(_slices(index_of(number), of_volume, stored, affine))
    return Image(f"{scope}/{general['acq_nr']}/{dynamics[0]}", run, tuple(volumes))


def _stored(images: Any, rec: memoryview) -> NDArray[Any]:
    """All pictures of the REC file: (n, rows, columns)."""
    columns, rows = (int(extent) for extent in images["recon resolution"][0])
    bits = int(images["image pixel size"][0])
    n_images = int(images["index in REC file"].max()) + 1
    wanted = n_images * rows * columns * bits // 8
    if bits not in (8, 16) or min(rows, columns) < 1:
        raise UnfinishedError(f"its PAR file states {rows} x {columns} pixels of {bits} bits")
    if len(rec) < wanted:
        raise UnfinishedError(f"its REC file has {len(rec)} of {wanted} bytes")
    return np.frombuffer(rec[:wanted], f"<u{bits // 8}").reshape(n_images, rows, columns)


def _affine(general: dict[str, Any], images: Any) -> NDArray[np.float64]:
    header = _parrec.PARRECHeader(general, images, permit_truncated=True, strict_sort=True)
    affine: NDArray[np.float64] = header.get_affine()
    return _PATIENT_TO_RAS @ affine


def _acquisition(
    general: dict[str, Any], affine: NDArray[np.float64], kept: Any, scope: str, n_volumes: int | None
) -> Acquisition:
    columns, rows = (int(extent) for extent in kept["recon resolution"][0])
    sizes_mm = np.linalg.norm(affine[:3, :2], axis=0)
    axes = affine[:3, :2] / sizes_mm
    tr_s = float(np.max(general["repetition_time"])) / 1000
    return Acquisition(
        series_uid=scope,
        series_number=0,
        maker="Philips",
        layout="par-rec",
        rows=rows,
        columns=columns,
        orientation=tuple(float(part) for part in axes.T.ravel()),
        spacing_mm=(float(sizes_mm[1]), float(sizes_mm[0])),
        tr_s=tr_s if tr_s >= _SHORTEST_TR_S else None,
        n_volumes=n_volumes,
        n_slices=int(general["max_slices"]),
    )


def _slices(index: int, images: Any, stored: NDArray[Any], affine: NDArray[np.float64]) -> Slices:
    """One volume; slice k of the file lies k - 1 steps along the affine's third axis."""
    steps = images["slice number"].astype(np.float64) - 1
    return Slices(
        index=index,
        positions_mm=affine[:3, 3] + steps[:, np.newaxis] * affine[:3, 2],
        pixels=stored[images["index in REC file"].astype(int)],
        slopes=images["rescale slope"].astype(np.float64),
        inters=images["rescale intercept"].astype(np.float64),
        times_s=None,
        begin_s=float(images["dyn_scan_begin_time"][0]),
    )
