"""Compiled inner loop of the log-mel front end."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def sum_bands(spectrum: NDArray[np.complex64], firsts: NDArray[np.int64], counts: NDArray[np.int64],
              weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Power of every band of every frame, summed in one order: a frame alone gives the bits it has among others.

    Parameters
    ----------
    spectrum : complex64 array of shape (n_frames, n_bins)
        One Fourier transform per row.
    firsts, counts : int64 arrays of shape (n_bands,)
        First bin of a band and its number of bins.
    weights : float32 array of shape (counts.sum(),)
        Of the bins, band after band.
    out : float32 array of shape (n_frames, n_bands)
        Written.
    """
    for frame in range(spectrum.shape[0]):
        at = 0
        for band in range(firsts.shape[0]):
            total = np.float32(0.0)
            for i in range(counts[band]):
                value = spectrum[frame, firsts[band] + i]
                total += weights[at] * (value.real * value.real + value.imag * value.imag)
                at += 1
            out[frame, band] = total
