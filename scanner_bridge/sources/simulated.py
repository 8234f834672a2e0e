"""A synthetic phantom instead of a scanner: seeded, and every volume carries its own index."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.volume import RunHeader, Volume

_BRIGHTNESS = 600.0
_NOISE = 8.0
_DRIFT = 6.0


class SimulatedSource:
    """An ellipsoid with texture, slow drift and noise, int16; voxel (0, 0, 0) holds the volume's index.

    The index in the data makes any loss, repetition or exchange downstream visible. A volume depends
    on the seed and its own index only, never on which volumes were asked for before it.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._affine = np.diag([*settings.voxel_mm, 1.0])
        self._affine[:3, 3] = -0.5 * np.array(settings.voxel_mm) * (np.array(settings.shape) - 1)
        rng = np.random.default_rng(settings.seed)
        axes = np.meshgrid(*[np.linspace(-1.1, 1.1, extent) for extent in settings.shape], indexing="ij")
        self._head = np.square(axes).sum(axis=0) < 1
        waves = rng.uniform(2, 5, 3)
        texture = 1 + 0.2 * np.prod([np.cos(wave * axis) for wave, axis in zip(waves, axes, strict=True)], axis=0)
        self._anatomy: NDArray[np.float64] = _BRIGHTNESS * texture * self._head

    @property
    def header(self) -> RunHeader:
        """The run's header."""
        settings = self._settings
        n_slices = settings.shape[2]
        return RunHeader(
            run_id=f"simulated-{settings.seed}",
            shape=settings.shape,
            dtype="<i2",
            affine=self._affine,
            tr_s=settings.tr_s,
            n_volumes=settings.n_volumes,
            slice_times_s=tuple(settings.tr_s * number / n_slices for number in range(n_slices)),
            source=f"simulated phantom, seed {settings.seed}",
        )

    def __iter__(self) -> Iterator[Volume]:
        """Volumes of the run, without those that `lost_volumes` names."""
        for index in range(self._settings.n_volumes):
            if index not in self._settings.lost_volumes:
                yield Volume(index, self._voxels(index), self._affine, self._settings.tr_s, self.header.run_id)

    def close(self) -> None:
        """Nothing to let go of."""

    def _voxels(self, index: int) -> NDArray[np.int16]:
        rng = np.random.default_rng([self._settings.seed, index])
        drift = _DRIFT * np.sin(2 * np.pi * index * self._settings.tr_s / 128)
        voxels = self._anatomy + drift * self._head + rng.normal(0, _NOISE, self._anatomy.shape)
        stored: NDArray[np.int16] = np.clip(np.rint(voxels), 0, 32767).astype(np.int16)
        stored[0, 0, 0] = index
        return stored
