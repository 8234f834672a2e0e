"""What the towers are trained for."""

import torch
from torch import Tensor
from torch.nn import functional

from offline_training.embedder.towers import Readings


def agreement(similarities: Tensor, holds: Tensor) -> Tensor:
    """InfoNCE with several right answers, both ways.

    "Calm piano" is true of many pieces of a batch; to call all but one of them wrong would teach the
    towers to tell apart what the words do not.

    Parameters
    ----------
    similarities : tensor of shape (n_claims, n_pieces)
        Cosines times sharpness.
    holds : bool tensor of the same shape
        Which claims are true of which pieces; every row and column holds at least once.
    """
    right = holds.float()
    by_claim = -(right / right.sum(dim=1, keepdim=True) * functional.log_softmax(similarities, dim=1)).sum(dim=1)
    by_piece = -(right / right.sum(dim=0, keepdim=True) * functional.log_softmax(similarities, dim=0)).sum(dim=0)
    return (by_claim.mean() + by_piece.mean()) / 2


def same_piece(similarities: Tensor) -> Tensor:
    """InfoNCE of two hearings of each piece, shape (n, n): what captions leave out is kept, too."""
    target = torch.arange(len(similarities))
    return (functional.cross_entropy(similarities, target) + functional.cross_entropy(similarities.T, target)) / 2


def readable(readings: Readings, shares: Tensor, lead: Tensor, mood: Tensor, instruments: Tensor,
             octaves: Tensor) -> Tensor:
    """Cross-entropies and squared error of the probes; `octaves` is log2(bpm / 100).

    The melody's instrument counts twice: it is the hardest to hear.
    """
    return (functional.cross_entropy(readings.genre, shares) + 2 * functional.cross_entropy(readings.lead, lead)
            + functional.cross_entropy(readings.mood, mood)
            + functional.binary_cross_entropy_with_logits(readings.instruments, instruments)
            + functional.mse_loss(readings.tempo, octaves))
