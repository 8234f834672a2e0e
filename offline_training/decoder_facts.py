"""What is to be known of a decoder to judge what it says, whether it came from images or from ready-made arrays."""

from dataclasses import dataclass

from realtime.bundle import Bundle
from realtime.messages import EmbeddingSpace
from realtime.reliability import Reliability


@dataclass(frozen=True, eq=False)
class DecoderFacts:
    """A decoder without its weights.

    Attributes
    ----------
    name, subject : str
    space : EmbeddingSpace
        What it predicts in.
    n_voxels : int
        That it reads.
    tr_s : float
    lag_volumes, window_volumes : int
        As a bundle's.
    reliability : Reliability
    """

    name: str
    subject: str
    space: EmbeddingSpace
    n_voxels: int
    tr_s: float
    lag_volumes: int
    window_volumes: int
    reliability: Reliability


def facts_of(bundle: Bundle) -> DecoderFacts:
    """Those of a bundle's decoder."""
    manifest = bundle.manifest
    return DecoderFacts(manifest.name, manifest.subject, manifest.space, len(bundle.voxels),
                        float(manifest.preprocessing.tr_s), manifest.lag_volumes, manifest.window_volumes,
                        bundle.reliability)
