"""What the best clip's posterior reaches when the decoder is fed noise: the band a trial's evidence has to leave."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from realtime.bundle import read_bundle
from realtime.console.view import ChanceBand
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.decoding.posterior import believe
from realtime.errors import RealtimeError
from realtime.music.catalogue import read_catalogue
from realtime.ports import Decoder, MusicIndex
from realtime.reliability import ANY_SIZE, HEARD, Reliability

N_DRAWS = 200
SEED = 1


def chance_band(decoder: Decoder, index: MusicIndex, reliability: Reliability, n_voxels: int) -> ChanceBand:
    """The band for every length of evidence, from white noise of unit variance in every voxel and volume.

    Real noise is alike in neighbouring voxels and volumes; the band says what a decoder reads into nothing at all.
    `N_DRAWS` trials from seed `SEED`; deterministic.
    """
    rng = np.random.default_rng(SEED)
    highest = np.zeros((2, N_DRAWS, len(reliability.clip_map)))
    for draw in range(N_DRAWS):
        total = np.zeros(n_voxels)
        for n in range(1, len(reliability.clip_map) + 1):
            total += rng.standard_normal(n_voxels)
            embedding = decoder.decode((total / n).astype(np.float32))
            for row, sizes in zip(highest, (HEARD, ANY_SIZE), strict=True):
                row[draw, n - 1] = believe(index, embedding, reliability, n, sizes).confidence
    heard, any_size = (tuple(float(value) for value in np.percentile(row, 95, axis=0)) for row in highest)
    return ChanceBand(heard, any_size)


def main() -> int:
    """Print the band of a bundle and a catalogue as JSON; nothing where they cannot be read."""
    try:
        bundle = read_bundle(Path(sys.argv[1]))
        index = read_catalogue(Path(sys.argv[2]), check_audio=False)
        band = chance_band(OnnxDecoder(bundle), index, bundle.reliability, len(bundle.voxels))
    except RealtimeError:
        return 1
    sys.stdout.write(json.dumps(asdict(band)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
