"""The report's figure of head motion and of the quality of every volume."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from offline_training.report_figures import ACCENT, INK, WARN, as_svg, blank_figure, length_s
from offline_training.session_view import SessionView

Floats = NDArray[np.float64]
_AXES = (("x", ACCENT), ("y", "#117733"), ("z", WARN))
_UNUSABLE = "#882255"


def motion(view: SessionView, censor_fd_mm: float | None) -> str:
    """Where the head was, how far it moved, which volumes were unusable, and how noisy the decoder's voxels were."""
    quality_known = bool(np.isfinite(view.steps.dvars_percent).any())
    figure = blank_figure(5.6 if quality_known else 4.4)
    heights = [1, 1, 1.2, 1.2] if quality_known else [1, 1, 1.2]
    shifted, turned, *lower = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _place(view, shifted, turned)
    _displacement(view, lower[0], censor_fd_mm)
    if quality_known:
        _quality(view, lower[1])
    lower[-1].set(xlabel="time in the run (s)")
    lower[-1].set_xlim(0, length_s(view))
    figure.align_ylabels()
    return as_svg(figure)


def _place(view: SessionView, shifted: Axes, turned: Axes) -> None:
    steps, times_s = view.steps, view.steps.volume * view.tr_s
    pose = head_motion(steps.motion, _head_centre(view))
    for k, (name, colour) in enumerate(_AXES):
        shifted.plot(times_s, pose[:, k], color=colour, linewidth=1.3, label=name)
        turned.plot(times_s, pose[:, 3 + k], color=colour, linewidth=1.3)
    shifted.set(ylabel="shift (mm)", title="Head position against the training reference")
    shifted.legend(loc="lower right", frameon=False, ncols=3, bbox_to_anchor=(1.0, 0.98), borderaxespad=0.1)
    turned.set(ylabel="turn (°)")


def _displacement(view: SessionView, moved: Axes, censor_fd_mm: float | None) -> None:
    """Framewise displacement, and marks above it for volumes that could not be used."""
    steps, times_s = view.steps, view.steps.volume * view.tr_s
    moved.fill_between(times_s, steps.displacement_mm, step="mid", color="#88CCEE", linewidth=0)
    moved.step(times_s, steps.displacement_mm, where="mid", color=ACCENT, linewidth=1.0)
    top = float(np.nanmax(steps.displacement_mm, initial=0.1))
    if censor_fd_mm is not None:
        moved.axhline(censor_fd_mm, color=WARN, linestyle="--", linewidth=1.2)
        moved.text(times_s[-1] if len(times_s) else 1, censor_fd_mm, "not used above ", color=_UNUSABLE, va="bottom",
                   ha="right", fontsize=9)
        top = max(top, censor_fd_mm)
    marks = {"CENSORED": ("v", "censored: moved"), "GAP": ("x", "never came"), "REJECTED": ("s", "unusable")}
    for status, (marker, label) in marks.items():
        where = np.array([one == status for one in steps.status])
        if where.any():
            moved.scatter(times_s[where], np.full(where.sum(), 1.12 * top), marker=marker, color=_UNUSABLE, s=26,
                          label=label, zorder=3, linewidths=1.4)
    if moved.get_legend_handles_labels()[0]:
        moved.legend(loc="lower right", frameon=False, ncols=3, bbox_to_anchor=(1.0, 0.98), borderaxespad=0.1)
    moved.set(ylim=(0, 1.3 * top), ylabel="moved (mm)")


def _quality(view: SessionView, axes: Axes) -> None:
    """DVARS of every volume; its axis ends above all but the T1 transient, so that the run can be seen."""
    steps, times_s = view.steps, view.steps.volume * view.tr_s
    axes.step(times_s, steps.dvars_percent, where="mid", color=ACCENT, linewidth=1.0)
    steady = steps.dvars_percent[[status != "SETTLING" for status in steps.status]]
    known = steady[np.isfinite(steady)]
    highest = float(known.max()) if len(known) else float(np.nanmax(steps.dvars_percent))
    axes.set(ylim=(0, 1.25 * max(highest, 1e-3)), ylabel="DVARS (%)")
    last = steps.tsnr[np.isfinite(steps.tsnr)]
    if len(last):
        axes.text(1.0, 1.0, f"tSNR of the decoder's voxels at the end: {last[-1]:.0f}", transform=axes.transAxes,
                  ha="right", va="bottom", fontsize=9, color=INK)


def head_motion(matrices: Floats, centre_mm: Floats) -> Floats:
    """Shift of the head's centre in mm and turn about x, y, z in degrees, (n, 6), from (n, 4, 4) matrices."""
    shift = np.einsum("nij,j->ni", matrices[:, :3, :3], centre_mm) + matrices[:, :3, 3] - centre_mm
    r = matrices[:, :3, :3]
    angles = np.stack([np.arctan2(r[:, 2, 1], r[:, 2, 2]), -np.arcsin(np.clip(r[:, 2, 0], -1, 1)),
                       np.arctan2(r[:, 1, 0], r[:, 0, 0])], axis=1)
    return np.concatenate([shift, np.degrees(angles)], axis=1)


def _head_centre(view: SessionView) -> Floats:
    """Centre of the reference's bright voxels in mm; of the grid when there is no bundle."""
    if view.bundle is None:
        affine = np.array(view.start["run"]["affine"], np.float64).reshape(4, 4)
        middle = (np.array(view.start["run"]["shape"]) - 1) / 2
        return np.asarray(affine[:3, :3] @ middle + affine[:3, 3], np.float64)
    reference = view.bundle.reference
    bright = np.argwhere(reference > reference.mean()).mean(axis=0)
    return np.asarray(view.bundle.affine[:3, :3] @ bright + view.bundle.affine[:3, 3], np.float64)
