"""How a decoder is fitted: one setting per choice, the published recipe among them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from offline_training.errors import FitError


@dataclass(frozen=True)
class FitSettings:
    """A recipe. What has several values is chosen among them inside the training folds.

    The defaults were chosen by the paired comparison in docs/decisions/0024-the-decoder.md.

    Attributes
    ----------
    regions : {"joint", "averaged"}
        joint: one ridge over the voxels of the best regions together; averaged: a ridge for each of them, and the mean
        of what they predict, as Brain2Music does.
    n_regions : tuple of int
        How many of the regions, ranked by cross-validated correlation; 0 for all.
    targets : {"components", "dimensions"}
        What gets a penalty of its own: principal components of the training targets, so that what the brain does not
        tell is silenced and what it tells is not, or the embedding's dimensions as they are.
    restore_spread : bool
        Stretch predictions about the mean target until they spread as targets do: ridge shrinks them to the mean, whose
        nearest clips would win every search.
    lags_s : tuple of float
        Haemodynamic lag, rounded to volumes.
    windows_s : tuple of float
        Stretch of a trial that carries its evidence; 0 for the clips' median duration.
    smallest_share : float
        A training trial counts with at least this share of its window usable.
    alphas : tuple of float
        Grid for α, increasing. Wide on purpose: what cannot be predicted gets the largest, which silences it.
    n_folds : int
        Runs are dealt into at most this many folds (`deal_folds`).
    most_voxels : int
        The decoder reads at most so many, or those of one region if that has more: each is aligned at every volume.
    """

    regions: Literal["joint", "averaged"] = "joint"
    n_regions: tuple[int, ...] = (6, 20, 0)
    targets: Literal["components", "dimensions"] = "components"
    restore_spread: bool = True
    lags_s: tuple[float, ...] = (3.0, 4.5, 6.0)
    windows_s: tuple[float, ...] = (0.0,)
    smallest_share: float = 0.5
    alphas: tuple[float, ...] = tuple(float(alpha) for alpha in np.logspace(1, 6, 16))
    n_folds: int = 6
    most_voxels: int = 6000

    def __post_init__(self) -> None:
        for name in ("n_regions", "lags_s", "windows_s", "alphas"):
            if not getattr(self, name) or min(getattr(self, name)) < 0:
                raise FitError(f"fit.{name} is {getattr(self, name)}, wanted at least one value, none below 0")


BRAIN2MUSIC = FitSettings(regions="averaged", n_regions=(6,), targets="dimensions", restore_spread=False, lags_s=(4.5,),
                          n_folds=5, most_voxels=1_000_000)
"""The paper (arXiv 2307.11078, sections 3.3 and A.2): a ridge per region, the best 6 averaged, one α per dimension, 5
folds. It names no lag; 4.5 s is its successors'."""
