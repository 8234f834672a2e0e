"""What generators are made of: themes, tokens, conditions, anchors, the diary."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ConfigError, GeneratorError
from realtime.generators.anchors import CorpusAnchors
from realtime.generators.conditioning import Conditioner, Conditioning, snap
from realtime.generators.diary import Diary, read_diary
from realtime.generators.director import Director
from realtime.generators.make import make_generator
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.settings import GeneratorSettings
from realtime.generators.themes import Themes, band_of, read_theme, theme_of
from realtime.generators.token_model import ModelSpec, TokenModel
from realtime.generators.tokens import HEADER, VOCABULARY, Grammar, ScoreText, header_tokens, read_header, transposition
from realtime.music.catalogue import read_catalogue
from realtime.music.synth_parts import STEPS_PER_BAR, write_bar
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES
from tests import builders
from tests.generators import RATE_HZ, condition, themes, write_untrained

vectors = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).standard_normal(builders.DIM).astype(
    np.float32))


# themes ---------------------------------------------------------------------------------


@given(genre=st.sampled_from(GENRES), seed=st.integers(0, 2**32 - 1), borrow=st.sampled_from([0.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_theme_is_all_that_the_band_plays(genre: str, seed: int, borrow: float) -> None:
    """Band to theme to JSON to theme to band: the same bars from the same draws."""
    band = compose(genre, seed, 2.0, borrow).band
    again = band_of(read_theme(json.loads(json.dumps(asdict(theme_of(band))))))
    bars = [write_bar(np.random.default_rng(7), one, 0) for one in (band, again)]
    assert bars[0].notes == bars[1].notes
    assert bars[0].hits == bars[1].hits
    assert theme_of(again) == theme_of(band)


@given(embedding=vectors)
@settings(max_examples=40, deadline=None)
def test_the_nearest_theme_is_that_of_the_textbook(embedding: np.ndarray) -> None:
    library = themes()
    rows = library.embeddings - library.embeddings.mean(axis=0)
    towards = embedding - library.embeddings.mean(axis=0)
    scores = rows @ towards / np.linalg.norm(rows, axis=1)
    assert scores[library.nearest(embedding)] >= scores.max() - 1e-5


@given(embedding=vectors)
@settings(max_examples=30, deadline=None)
def test_what_plays_is_not_changed_for_a_hair(embedding: np.ndarray) -> None:
    library = themes()
    playing = library.nearest(embedding)
    assert library.nearest(embedding + np.float32(1e-4), playing) == playing
    assert library.nearest(-embedding, playing) != playing


def test_themes_survive_their_file_and_others_are_refused(tmp_path: Path) -> None:
    library, path = themes(), tmp_path / "themes.npz"
    library.save(path)
    again = Themes.load(path)
    assert (again.space, again.themes) == (library.space, library.themes)
    for number in range(5):
        assert again.nearest(condition(number).embedding) == library.nearest(condition(number).embedding)
    for content in (None, b"junk"):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(GeneratorError, match="no themes that can be played"):
            Themes.load(path)
    strange = replace(library.themes[0], voices={**library.themes[0].voices, "lead": "kazoo"})
    Themes(library.space, [strange], library.embeddings[:1]).save(path)
    with pytest.raises(GeneratorError, match="kazoo"):
        Themes.load(path)
    Themes(library.space, library.themes[:1], np.full((1, builders.DIM), np.nan, np.float32)).save(path)
    with pytest.raises(GeneratorError, match="not finite"):
        Themes.load(path)


def test_a_melody_comes_home_after_four_bars() -> None:
    """Left alone it sinks or climbs to the end of its reach: bars 0, 4 and 8 begin alike, whatever came between."""
    sunk = replace(themes().themes[0], moves=tuple(-2 for _ in themes().themes[0].motif))
    director = Director(Themes(builders.SPACE, [sunk], np.zeros((1, builders.DIM), np.float32)), 0)
    director.condition(condition(0))
    home = band_of(sunk).tune.home
    places = []
    for step in range(9 * STEPS_PER_BAR):
        if step % STEPS_PER_BAR == 0:
            places.append(director.memory()["tune"]["place"])
        director.moment()
    assert [places[bar] for bar in (0, 4, 8)] == [home] * 3
    assert places[3] < home


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
    theme = theme_of(compose("disco", 1, 4.0, 0.0).band)
    tokens = header_tokens(theme, 2)
    assert len(tokens) == 1 + len(HEADER)
    header = read_header(tokens[1:])
    assert abs(header.tempo / theme.bpm - 1) < 0.03
    assert header.voices == {**theme.voices, "pad": theme.pad}
    assert (header.kit, header.swing) == ("machine", 0.0)
    said = {VOCABULARY.kind(token): VOCABULARY.index(token) for token in tokens}
    assert (said["degree"], said["following"], said["phrase"]) == (theme.progression[2], theme.progression[3], 2)
    assert said["key"] == theme.key
    assert [step for step in range(16) if said[f"lead beat {1 + step // 4}"] >> step % 4 & 1] == sorted(theme.motif)


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


def test_an_anchored_director_plays_the_clips_theme_whatever_is_decoded() -> None:
    anchor = theme_of(compose("reggae", 2, 4.0, 0.0).band)
    director = Director(themes(), 1, {"clip": anchor})
    generator = ScoreGenerator(director, RATE_HZ)
    generator.condition(condition(0, clip_id="clip"))
    generator.chunk()
    assert director.theme == anchor
    generator.condition(condition(0, clip_id="another"))
    generator.chunk()
    assert director.theme == themes().themes[themes().nearest(condition(0).embedding)]


def test_a_composed_clips_anchor_is_its_own_theme_and_one_without_a_seed_is_like_it(tmp_path: Path) -> None:
    from offline_training.corpus_composed import CorpusSettings, make_corpus

    make_corpus(tmp_path, CorpusSettings(2, 1, 2.0, borrow=0.8, rate_hz=16000), dim=4)
    catalogue, library = read_catalogue(tmp_path, check_audio=False), themes()
    near = Themes(catalogue.space, library.themes, library.embeddings[:, :4])
    document = json.loads((tmp_path / "corpus.json").read_text())
    exact = CorpusAnchors(tmp_path, catalogue, near)
    assert len(exact) == len(document["clips"]) == 20
    for entry in document["clips"]:
        labels, theme = entry["labels"], exact[entry["clip_id"]]
        score = compose(labels["genre"], int(labels["seed"]), 2.0, 0.8)
        assert theme == theme_of(score.band)
        del labels["seed"]
    (tmp_path / "corpus.json").write_text(json.dumps(document))
    for entry in document["clips"]:
        labels, theme = entry["labels"], CorpusAnchors(tmp_path, catalogue, near)[entry["clip_id"]]
        assert (theme.scale, theme.key, theme.bpm) == (labels["scale"], int(labels["key"]), entry["bpm"])
        assert theme.voices == {part: labels[part] for part in ("bass", "chords", "lead")}
        assert band_of(theme).plan.scale == theme.scale
    with pytest.raises(KeyError):
        exact["absent"]


@pytest.mark.parametrize("kind", ["director", "model"])
def test_anchors_are_reachable_from_settings(tmp_path: Path, kind: str) -> None:
    from offline_training.corpus_composed import CorpusSettings, make_corpus

    make_corpus(tmp_path / "corpus", CorpusSettings(2, 1, 2.0, rate_hz=16000), dim=builders.DIM)
    catalogue = read_catalogue(tmp_path / "corpus", check_audio=False)
    folder = write_untrained(tmp_path / "generator", catalogue.space)
    made = make_generator(GeneratorSettings(kind, folder, anchored=True), tmp_path / "corpus")  # type: ignore[arg-type]
    for number, clip_id in enumerate(("reggae-000", "metal-001")):
        made.generator.condition(condition(number, clip_id=clip_id))
        chunk = made.generator.chunk()
        bpm = catalogue.clip(clip_id).bpm
        assert chunk.beat_frames == pytest.approx(60 / bpm * RATE_HZ, abs=2)


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
    """Everything real and tiny: pieces, their themes, a loss that falls."""
    pytest.importorskip("torch", reason="training generators needs the extra 'embedder'")
    from offline_training.generator.export import write_generator
    from offline_training.generator.fit_tokens import TokenTraining, train_tokens
    from offline_training.generator.network import NetworkSize
    from offline_training.generator.pieces import Piece, PieceSet, scores

    rng = np.random.default_rng(0)
    places = {genre: rng.standard_normal(builders.DIM).astype(np.float32) for genre in GENRES}
    pieces = PieceSet(builders.SPACE, tuple(
        Piece(score, places[score.labels["genre"]]
              + np.float32(0.1) * rng.standard_normal(builders.DIM).astype(np.float32)) for score in scores(40, 7)))
    network, last = train_tokens(pieces, TokenTraining(12), size=NetworkSize(1, 2, 8, 64))
    _, first = train_tokens(pieces, TokenTraining(1), size=NetworkSize(1, 2, 8, 64))
    assert last < first - 0.3
    write_generator(tmp_path, pieces.themes, network, {})
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
