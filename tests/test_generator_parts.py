"""What generators are made of: read-outs, tokens, conditions, anchors, the diary."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ConfigError, GeneratorError
from realtime.generators.conditioning import Conditioner, Conditioning, snap
from realtime.generators.diary import Diary, read_diary
from realtime.generators.director import Director
from realtime.generators.make import make_generator
from realtime.generators.readouts import Readouts, traits_of
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.settings import GeneratorSettings
from realtime.generators.token_model import ModelSpec, TokenModel
from realtime.generators.tokens import HEADER, VOCABULARY, Grammar, ScoreText, header_tokens, read_header, transposition
from realtime.music.synth_parts import STEPS_PER_BAR
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES, STYLES
from tests import builders
from tests.generators import RATE_HZ, condition, readouts

vectors = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).standard_normal(builders.DIM).astype(
    np.float32))


# read-outs ------------------------------------------------------------------------------


@given(embedding=vectors)
@settings(max_examples=60, deadline=None)
def test_whatever_is_read_can_be_played(embedding: np.ndarray) -> None:
    traits = readouts().read(embedding)
    style = {part: STYLES[genre] for part, genre in traits.styles.items()}
    low, high = style["tempo"].bpm
    assert low <= traits.bpm <= high
    assert traits.scale in style["harmony"].scales
    assert traits.bass_pattern in style["bass"].bass.patterns
    assert traits.chord_pattern in style["chords"].chords.patterns
    assert 0 <= traits.drum_pattern < max(1, len(style["drums"].drums.patterns))
    assert 1 <= traits.lead_notes <= STEPS_PER_BAR


@given(embedding=vectors)
@settings(max_examples=30, deadline=None)
def test_what_plays_is_not_changed_for_a_hair(embedding: np.ndarray) -> None:
    read = readouts()
    playing = read.read(embedding)
    nudged = read.read(embedding + np.float32(1e-4), playing)
    assert nudged.classes() == playing.classes()
    assert nudged.bpm == playing.bpm


def test_scores_are_those_of_the_textbook() -> None:
    read, embedding = readouts(), condition(0).embedding
    seen = np.maximum(((embedding - read.mean) / read.scale) @ read.features + read.feature_bias, 0)
    for name, scores in read.scores(embedding).items():
        np.testing.assert_allclose(scores, seen @ read.weights[name] + read.biases[name], rtol=1e-5, atol=1e-6)


def test_read_outs_survive_their_file_and_others_are_refused(tmp_path: Path) -> None:
    read, path = readouts(), tmp_path / "readouts.npz"
    read.save(path)
    again = Readouts.load(path)
    assert again.space == read.space
    for number in range(5):
        assert again.read(condition(number).embedding) == read.read(condition(number).embedding)
    with pytest.raises(GeneratorError, match="no read-outs in"):
        Readouts.load(tmp_path / "absent.npz")
    path.write_bytes(b"junk")
    with pytest.raises(GeneratorError, match="no read-outs in"):
        Readouts.load(path)
    read.weights["lead"][0, 0] = np.nan  # type: ignore[index]
    read.save(path)
    with pytest.raises(GeneratorError, match="finite: False"):
        Readouts.load(path)


@pytest.mark.parametrize("genre", GENRES)
def test_the_traits_of_a_piece_are_what_was_drawn(genre: str) -> None:
    score = compose(genre, 4, 6.0, 0.5)
    traits = traits_of(score.band)
    assert traits.voices["lead"] == score.labels["lead"]
    assert traits.scale == score.labels["scale"]
    assert traits.bpm == score.bpm
    borrowed = score.labels["borrowed"]
    assert {part: style for part, style in traits.styles.items() if style != genre} == (
        dict([borrowed.split(" from ")]) if borrowed else {})


# tokens ---------------------------------------------------------------------------------


@given(genre=st.sampled_from(GENRES), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_every_bar_of_a_procedural_piece_follows_the_grammar(genre: str, seed: int) -> None:
    text = ScoreText(compose(genre, seed, 4.0, 0.5))
    for bar in range(text.n_bars):
        grammar = Grammar()
        for token in text.bar(bar):
            if VOCABULARY.kind(token) in ("bar", "step"):
                assert not grammar.fresh
            else:
                assert grammar.allowed()[token]
            grammar = grammar.read(token)


def test_a_bar_cut_in_two_holds_the_same_steps() -> None:
    text = ScoreText(compose("pop", 3, 4.0, 0.0))
    def begun(tokens: list[int]) -> list[int]:
        return [VOCABULARY.index(token) for token in tokens if VOCABULARY.kind(token) == "step"]

    assert begun(text.bar(0, 0, 7)) + begun(text.bar(0, 7)) == begun(text.bar(0))


def test_a_header_says_what_it_was_made_of() -> None:
    band = compose("disco", 1, 4.0, 0.0).band
    traits = traits_of(band)
    tokens = header_tokens(traits, band.pad)
    assert len(tokens) == 1 + len(HEADER)
    header = read_header(tokens[1:])
    assert abs(header.tempo / traits.bpm - 1) < 0.03
    assert header.voices == {**traits.voices, "pad": band.pad}
    assert (header.kit, header.swing) == ("machine", 0.0)


def test_every_key_is_within_half_an_octave_of_c() -> None:
    shifts = [transposition(key) for key in range(12)]
    assert sorted(shifts) == list(range(-5, 7))
    assert all((key - shift) % 12 == 0 for key, shift in enumerate(shifts))


# conditions -----------------------------------------------------------------------------


@given(embedding=vectors, sharpness=st.floats(0.5, 500.0))
@settings(max_examples=40, deadline=None)
def test_snapping_is_the_softmax_mean_of_the_corpus(embedding: np.ndarray, sharpness: float) -> None:
    catalogue = builders.catalogue()
    ids = [clip.clip_id for clip in catalogue.clips]
    weights = np.exp(sharpness * catalogue.similarities(embedding, ids).astype(np.float64))
    rows = np.array([catalogue.embedding(clip_id) for clip_id in ids])
    np.testing.assert_allclose(snap(embedding, catalogue, sharpness), weights @ rows / weights.sum(), rtol=1e-4,
                               atol=1e-5)


def test_a_clips_own_embedding_snaps_to_itself_when_sharp() -> None:
    catalogue = builders.catalogue()
    own = catalogue.embedding("clip03")
    np.testing.assert_allclose(snap(own, catalogue, 500.0), own, atol=1e-5)


def test_conditions_are_numbered_and_told_only_when_something_changes() -> None:
    conditioner = Conditioner(Conditioning(builders.catalogue(), 20.0))
    first = conditioner.condition(3, condition(0).embedding, "clip01")
    assert first is not None
    assert (first.number, first.volume_index, first.clip_id) == (0, 3, "clip01")
    assert conditioner.condition(4, condition(0).embedding, "clip01") is None
    other = conditioner.condition(5, condition(1).embedding, "clip01")
    assert other is not None
    assert other.number == 1


def test_settings_that_generate_nothing_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        GeneratorSettings("model", seed=-1, snap=-1.0, deadline_s=3.0)
    for word in ("needs folder", "seed", "snap", "deadline_s"):
        assert word in str(caught.value)


# anchors and the diary ------------------------------------------------------------------


def test_an_anchored_director_plays_the_clips_traits_whatever_is_decoded() -> None:
    anchor = traits_of(compose("reggae", 2, 4.0, 0.0).band)
    director = Director(readouts(), 1, {"clip": anchor})
    generator = ScoreGenerator(director, RATE_HZ)
    generator.condition(condition(0, clip_id="clip"))
    generator.chunk()
    assert director.traits == anchor
    generator.condition(condition(0, clip_id="another"))
    generator.chunk()
    assert director.traits == readouts().read(condition(0).embedding, anchor)


def test_a_diary_cut_off_in_its_last_line_loses_only_that_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "generated.jsonl"
    diary = Diary(path, {"kind": "director", "seed": 1})
    diary.adopt(condition(0), 0)
    diary.adopt(condition(1), 9)
    diary.close()
    path.write_bytes(path.read_bytes()[:-20])
    Diary(path, {"kind": "director", "seed": 1}).end(0)
    first, second = read_diary(path)
    assert (list(first.conditions), first.n_chunks, second.n_chunks) == ([0], None, 0)
    np.testing.assert_array_equal(first.conditions[0].embedding, condition(0).embedding)


def test_a_file_that_is_no_diary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="no diary"):
        read_diary(tmp_path / "absent")
    (tmp_path / "other").write_text(json.dumps({"doc": "end", "chunks": 1}) + "\n")
    with pytest.raises(GeneratorError, match="not a diary"):
        read_diary(tmp_path / "other")
    with pytest.raises(GeneratorError, match="cannot be written"):
        Diary(tmp_path / "absent" / "diary", {})


# training -------------------------------------------------------------------------------


def test_a_generator_is_trained_and_written_as_the_live_program_reads_it(tmp_path: Path) -> None:
    """Everything real and tiny: pieces heard, read-outs above chance on the pieces, a loss that falls."""
    pytest.importorskip("torch", reason="training generators needs the extra 'embedder'")
    from offline_training.generator.attributes import fit_readouts, judge_readouts
    from offline_training.generator.export import write_generator
    from offline_training.generator.fit_tokens import TokenTraining, train_tokens
    from offline_training.generator.network import NetworkSize
    from offline_training.generator.pieces import Piece, PieceSet, scores

    rng = np.random.default_rng(0)
    places = {genre: rng.standard_normal(builders.DIM).astype(np.float32) for genre in GENRES}
    pieces = PieceSet(builders.SPACE, tuple(
        Piece(genre, score, places[genre] + np.float32(0.1) * rng.standard_normal(builders.DIM).astype(np.float32))
        for genre, score in scores(40, 7)))
    fitted = fit_readouts(pieces)
    assert judge_readouts(fitted, pieces)["style of drums"] > 0.5  # chance 0.1; parts are borrowed
    network, last = train_tokens(pieces, TokenTraining(12), size=NetworkSize(1, 2, 8, 64))
    _, first = train_tokens(pieces, TokenTraining(1), size=NetworkSize(1, 2, 8, 64))
    assert last < first - 0.3
    write_generator(tmp_path, fitted, network, {})
    made = make_generator(GeneratorSettings("model", tmp_path), builders.write_corpus(tmp_path / "corpus"))
    made.generator.condition(condition(0))
    sound = np.concatenate([made.generator.chunk().frames for _ in range(40)])
    assert np.sqrt((sound**2).mean()) > 0.01


def test_one_token_at_a_time_on_onnx_is_the_whole_text_in_torch() -> None:
    """Parity of the exported step and its ring with training's attention."""
    torch = pytest.importorskip("torch", reason="making a network needs the extra 'embedder'")

    from offline_training.generator.network import Network, NetworkSize, to_onnx

    torch.manual_seed(1)
    size = NetworkSize(2, 2, 8, 64)
    network = Network(builders.DIM, size, torch.zeros(builders.DIM), torch.ones(builders.DIM)).eval()
    model = TokenModel(ModelSpec(builders.SPACE, 2, 2, 8, 64), to_onnx(network), "the test's model")
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, VOCABULARY.size, 60)
    conditions = rng.standard_normal((60, builders.DIM)).astype(np.float32)
    with torch.no_grad():
        whole = network(torch.from_numpy(tokens)[None], torch.from_numpy(conditions)[None])[0].numpy()
    steps = np.array([model.step(int(token), row) for token, row in zip(tokens, conditions, strict=True)])
    np.testing.assert_allclose(steps, whole, atol=2e-4)
