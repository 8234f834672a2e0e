"""Whom an evaluation is about: a bundle on a data set's images, or a decoder of arrays on those arrays."""

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from offline_training.array_decoder import decode_arrays, read_array_decoder
from offline_training.decoder_facts import DecoderFacts, facts_of
from offline_training.errors import DatasetError
from offline_training.evaluate import DecodedRun, decode_runs
from offline_training.evaluation_refits import Whole, whole_arrays, whole_session
from offline_training.material import check_clips
from offline_training.progress import Progress
from offline_training.response_arrays import array_subjects, read_arrays
from offline_training.responses import Responses
from offline_training.runs import Dataset, read_dataset
from realtime.bundle import Bundle, read_bundle
from realtime.music.catalogue import Catalogue


@dataclass(frozen=True, eq=False)
class ImagedSubject:
    """A person whose images were decoded by a bundle."""

    bundle: Bundle
    runs: Dataset
    decoded: list[DecodedRun]

    @property
    def decoder(self) -> DecoderFacts:
        """The bundle's."""
        return facts_of(self.bundle)

    def whole(self, catalogue: Catalogue, tracks: Mapping[str, str], folder: Path, executor: Executor,
              progress: Progress | None = None) -> Whole:
        """All runs, training included, aligned (`whole_session`)."""
        return whole_session(self.bundle, self.runs, catalogue, tracks, folder, executor, progress)


@dataclass(frozen=True, eq=False)
class ArraySubject:
    """A person whose ready-made arrays were decoded."""

    decoder: DecoderFacts
    runs: Responses
    decoded: list[DecodedRun]

    def whole(self, catalogue: Catalogue, tracks: Mapping[str, str], _folder: Path, _executor: Executor,
              _progress: Progress | None = None) -> Whole:
        """All runs; there is nothing to align."""
        return whole_arrays(self.decoder, self.runs, catalogue, tracks)


def decoded_subject(decoder: Path, dataset: Path, subject: str | None, catalogue: Catalogue, executor: Executor,
                    progress: Progress | None = None) -> ImagedSubject | ArraySubject:
    """Decode the held-out runs of one person.

    Parameters
    ----------
    decoder : Path
        Folder of a bundle; for arrays, of what `innerear train` made of arrays.
    dataset : Path
        BIDS data set, or response arrays with their events.
    subject : str or None
        Which; may be left out where there is one.
    catalogue : Catalogue
        Of the music that was heard, in the decoder's space.

    Raises
    ------
    DatasetError, BundleError, SpaceMismatchError
        They cannot be read, or do not belong together.
    """
    if not array_subjects(dataset):
        bundle, runs = read_bundle(decoder), read_dataset(dataset, subject)
        return ImagedSubject(bundle, runs, decode_runs(bundle, runs.test, catalogue, executor, progress))
    made, responses = read_array_decoder(decoder), read_arrays(dataset, subject).responses
    if made.facts.space != catalogue.space:
        raise DatasetError(f"decoder {made.facts.name!r} predicts space {made.facts.space}, the catalogue holds space "
                           f"{catalogue.space}; give the corpus it was trained with")
    check_clips([run.events for run in responses.runs], catalogue)
    return ArraySubject(made.facts, responses, decode_arrays(made, responses))
