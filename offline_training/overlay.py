"""A reference run on the training reference, as a picture for the operator and in figures.

The mean of the run's volumes, each moved by the live alignment's own estimate, lies under the outline of the training
reference: where they do not meet, the decoder's voxels are not where they were trained.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from offline_training.errors import TrainingError
from realtime.bundle import Bundle, read_bundle
from realtime.preprocessing.reslicing import reslice
from realtime.session.attempts import last_attempt
from realtime.session.entries import MessageEntry, read_entry
from realtime.session.folder import SessionFolder
from realtime.session.journal import scan_journal
from realtime.session.record import read_documents
from scanner_bridge.volume import Volume, scanner_units
from scanner_bridge.wire import decode, unpack

_INSIDE = 0.3  # of the reference's 98th percentile


@dataclass(frozen=True, eq=False)
class Overlay:
    """How a session lies on the training reference.

    Attributes
    ----------
    mean : float32 array of the reference's shape
        Of the session's aligned volumes.
    correlation : float
        With the reference, within the head.
    shift_mm, turn_deg : float
        How far the alignment had to move the last volume.
    n_volumes : int
        In the mean.
    """

    mean: NDArray[np.float32]
    correlation: float
    shift_mm: float
    turn_deg: float
    n_volumes: int


def overlay_of(folder: SessionFolder, bundle: Bundle) -> Overlay:
    """Mean of a recorded run on the grid of the bundle's reference.

    Raises
    ------
    TrainingError
        No volume of it was usable.
    """
    steps = {step["volume"]: step for step in last_attempt(read_documents(folder.record))
             if step["doc"] == "step" and step["motion"] is not None}
    total, n, motion = np.zeros(bundle.reference.shape), 0, np.eye(4)
    for record in scan_journal(folder.journal).records:
        entry = read_entry(record)
        message = decode(unpack(entry.blob)) if isinstance(entry, MessageEntry) else None
        if not isinstance(message, Volume) or message.index not in steps:
            continue
        motion = np.array(steps[message.index]["motion"], np.float64).reshape(4, 4)
        total += reslice(scanner_units(message), message.affine, motion, bundle.affine, bundle.reference.shape)
        n += 1
    if n == 0:
        raise TrainingError(f"{folder.path} holds no volume that was aligned; record the reference run again")
    mean = (total / n).astype(np.float32)
    inside = (bundle.reference > _INSIDE * np.percentile(bundle.reference, 98)) & (mean > 0)
    correlation = float(np.corrcoef(mean[inside], bundle.reference[inside])[0, 1])
    centre = bundle.affine @ np.append((np.array(bundle.reference.shape) - 1) / 2, 1.0)
    shift_mm = float(np.linalg.norm((motion @ centre - centre)[:3]))
    turn_deg = float(np.degrees(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1.0, 1.0))))
    return Overlay(mean, correlation, shift_mm, turn_deg, n)


def write_overlay(session: Path, picture: Path) -> dict[str, float]:
    """Draw the overlay of a recorded reference run, and return its figures; errors as `overlay_of`."""
    folder = SessionFolder(session)
    bundle = read_bundle(folder.bundle)
    overlay = overlay_of(folder, bundle)
    _draw(overlay, bundle, picture)
    return {"correlation": round(overlay.correlation, 4), "shift_mm": round(overlay.shift_mm, 2),
            "turn_deg": round(overlay.turn_deg, 2), "volumes": overlay.n_volumes}


def _draw(overlay: Overlay, bundle: Bundle, picture: Path) -> None:
    """Nine axial slices: this session in grey, the outline of the training reference, the decoder's voxels."""
    nx, ny, nz = bundle.reference.shape
    steps = np.linalg.norm(bundle.affine[:3, :2], axis=0)
    places = np.linspace(0.12 * nz, 0.88 * nz - 1, 9).round().astype(int)
    figure = Figure(figsize=(9, 9 * ny * steps[1] / (nx * steps[0]) + 0.9), facecolor="black")
    axes = figure.subplots(3, 3)
    high, edge = float(np.percentile(overlay.mean, 99.5)), _INSIDE * float(np.percentile(bundle.reference, 98))
    for place, axis in zip(places, axes.flat, strict=True):
        axis.imshow(overlay.mean[:, :, place].T, cmap="gray", origin="lower", vmin=0, vmax=high,
                    aspect=steps[1] / steps[0])
        if bundle.reference[:, :, place].max() > edge > bundle.reference[:, :, place].min():
            axis.contour(bundle.reference[:, :, place].T, [edge], colors="#56b4e9", linewidths=1.6)
        here = bundle.voxels[bundle.voxels[:, 2] == place]
        axis.plot(here[:, 0], here[:, 1], "s", color="#e69f00", markersize=2.5, alpha=0.8)
        axis.set_axis_off()
    figure.suptitle(f"This session under the training reference (blue outline); decoder's voxels orange\n"
                    f"correlation {overlay.correlation:.3f}, moved by {overlay.shift_mm:.1f} mm and "
                    f"{overlay.turn_deg:.1f}°, {overlay.n_volumes} volumes", color="white", fontsize=13)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.9, 0.02, 0.02)
    figure.savefig(picture, dpi=100, facecolor="black")
