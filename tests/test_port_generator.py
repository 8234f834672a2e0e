"""What every `realtime.ports.Generator` must do. A new implementation is one more line in `IMPLEMENTATIONS`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from realtime.errors import GeneratorError
from realtime.generators.bank import Bank
from realtime.generators.director import Director
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.state import pack_state
from realtime.generators.token_composer import TokenComposer
from realtime.generators.worker_generator import WorkerGenerator
from realtime.generators.worker_link import WorkerLink
from realtime.messages import Chunk
from realtime.music.catalogue import read_catalogue
from realtime.playback.clips import ClipLibrary
from realtime.ports import Generator
from tests.builders import SPACE, write_corpus
from tests.generators import RATE_HZ, condition, fake_endpoint, themes, untrained_model

Make = Callable[[Path], Generator]
LINKS: list[WorkerLink] = []


@pytest.fixture(autouse=True)
def _no_link_stays_open() -> Iterator[None]:
    yield
    while LINKS:
        LINKS.pop().close()


def director(folder: Path) -> ScoreGenerator:
    return ScoreGenerator(Director(themes(), seed=3), RATE_HZ)


def bank(folder: Path) -> Bank:
    catalogue = read_catalogue(folder / "corpus" if (folder / "corpus").exists() else write_corpus(folder / "corpus"))
    return Bank(catalogue, ClipLibrary(catalogue.clips, RATE_HZ), RATE_HZ)


def token_model(folder: Path) -> ScoreGenerator:
    return ScoreGenerator(TokenComposer(untrained_model(), themes(), seed=3), RATE_HZ)


def worker(folder: Path) -> WorkerGenerator:
    link = WorkerLink(fake_endpoint())
    LINKS.append(link)
    return WorkerGenerator(link, bank(folder), seed=3, deadline_s=5.0)


IMPLEMENTATIONS: dict[str, Make] = {"director": director, "token model": token_model, "bank": bank, "worker": worker}
make_each = pytest.mark.parametrize("make", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)


def play(generator: Generator, n: int, conditions: dict[int, int]) -> list[Chunk]:
    """n chunks; before chunk k the condition numbered `conditions[k]`."""
    chunks = []
    for place in range(n):
        if place in conditions:
            generator.condition(condition(conditions[place]))
        chunks.append(generator.chunk())
    return chunks


def sound(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.frames for chunk in chunks])


@make_each
def test_chunks_are_finite_stereo_of_the_stated_length(make: Make, tmp_path: Path) -> None:
    generator = make(tmp_path)
    assert generator.space == SPACE
    assert generator.rate_hz == RATE_HZ
    for chunk in play(generator, 40, {0: 0, 20: 1}):
        assert chunk.frames.dtype == np.float32
        assert chunk.frames.ndim == 2
        assert chunk.frames.shape[1] == 2
        assert 0 < len(chunk.frames) <= generator.longest_chunk
        assert np.isfinite(chunk.frames).all()
        assert np.abs(chunk.frames).max() <= 1.0
        assert chunk.to_beat >= 0
        assert chunk.beat_frames >= 0


@make_each
def test_silence_before_the_first_condition_and_sound_after_it(make: Make, tmp_path: Path) -> None:
    chunks = play(make(tmp_path), 45, {5: 7})
    assert not sound(chunks[:5]).any()
    assert [chunk.condition for chunk in chunks] == [-1] * 5 + [7] * 40
    assert np.sqrt((sound(chunks[5:]) ** 2).mean()) > 0.01


@make_each
def test_the_same_conditions_give_the_same_samples(make: Make, tmp_path: Path) -> None:
    schedule = {0: 0, 9: 1, 10: 2, 31: 3}
    first, again = play(make(tmp_path), 50, schedule), play(make(tmp_path), 50, schedule)
    np.testing.assert_array_equal(sound(first), sound(again))


@make_each
def test_another_condition_gives_other_music_and_changes_nothing_before(make: Make, tmp_path: Path) -> None:
    kept, changed = play(make(tmp_path), 60, {0: 0}), play(make(tmp_path), 60, {0: 0, 25: 1})
    np.testing.assert_array_equal(sound(kept[:25]), sound(changed[:25]))
    one, other = sound(kept[25:]), sound(changed[25:])
    n = min(len(one), len(other))
    assert np.abs(one[:n] - other[:n]).max() > 0.01
    assert changed[25].condition == 1


@make_each
def test_the_newest_condition_wins(make: Make, tmp_path: Path) -> None:
    generator, straight = make(tmp_path), make(tmp_path)
    for number in (4, 5, 6):
        generator.condition(condition(number))
    straight.condition(condition(6))
    np.testing.assert_array_equal(sound(play(generator, 20, {})), sound(play(straight, 20, {})))


@make_each
@pytest.mark.parametrize("cut", [0, 7, 23])
def test_a_restored_state_goes_on_bit_for_bit(make: Make, tmp_path: Path, cut: int) -> None:
    generator = make(tmp_path)
    play(generator, cut, {0: 0, 5: 1})
    generator.condition(condition(2))  # asked for, not yet taken up
    state = generator.state()
    wanted = play(generator, 30, {12: 3})
    other = make(tmp_path)
    play(other, 3, {0: 9})
    other.restore(state)
    got = play(other, 30, {12: 3})
    np.testing.assert_array_equal(sound(got), sound(wanted))
    assert [chunk.condition for chunk in got] == [chunk.condition for chunk in wanted]
    assert [(chunk.beat_frames, chunk.to_beat) for chunk in got] == [
        (chunk.beat_frames, chunk.to_beat) for chunk in wanted]


@make_each
def test_taking_the_state_changes_nothing(make: Make, tmp_path: Path) -> None:
    watched, left_alone = make(tmp_path), make(tmp_path)
    watched.condition(condition(0))
    left_alone.condition(condition(0))
    for _ in range(10):
        watched.state()
        np.testing.assert_array_equal(watched.chunk().frames, left_alone.chunk().frames)


@make_each
@pytest.mark.parametrize("state", [b"", b"junk", pack_state("other", {})], ids=["empty", "junk", "other"])
def test_a_foreign_state_is_refused_and_the_music_goes_on(make: Make, tmp_path: Path, state: bytes) -> None:
    generator, straight = make(tmp_path), make(tmp_path)
    before, wanted = play(generator, 5, {0: 0}), play(straight, 10, {0: 0})
    with pytest.raises(GeneratorError):
        generator.restore(state)
    np.testing.assert_array_equal(sound(before + play(generator, 5, {})), sound(wanted))


@make_each
def test_what_it_returned_is_the_callers_to_keep(make: Make, tmp_path: Path) -> None:
    generator = make(tmp_path)
    first = play(generator, 1, {0: 0})[0]
    kept = first.frames.copy()
    play(generator, 10, {})
    np.testing.assert_array_equal(first.frames, kept)


@make_each
def test_beats_are_where_the_chunks_say(make: Make, tmp_path: Path) -> None:
    """Positions of beats told by successive chunks lie a beat apart, within a frame."""
    at, beats, lengths = 0, [], []
    for chunk in play(make(tmp_path), 60, {0: 0}):
        if chunk.beat_frames and chunk.to_beat < len(chunk.frames):
            beats.append(at + chunk.to_beat)
            lengths.append(chunk.beat_frames)
        at += len(chunk.frames)
    if not beats:
        pytest.skip("its music has no beat that it knows of")
    apart = np.diff(beats) / lengths[:-1]
    assert len(beats) > 5
    assert np.abs(apart - np.round(apart)).max() < 3 / min(lengths)
