"""Ready-made response arrays and their events: every layout becomes the same runs, what does not fit is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.array_decoder import ArrayDecoder, decode_arrays, read_array_decoder, write_array_decoder
from offline_training.corpus import index_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus
from offline_training.decoder_facts import DecoderFacts
from offline_training.embedders import open_embedder
from offline_training.errors import DatasetError
from offline_training.linear_map import LinearMap
from offline_training.response_arrays import read_arrays
from offline_training.windows import Window, find_trials, whole_rows
from realtime.errors import EventsError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.reliability import Reliability
from tests import builders

CLIPS = [f"g{k % 3}.{k:05d}" for k in range(8)]


def catalogue(clips: list[str]) -> Catalogue:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(clips), 4)).astype(np.float32)
    return Catalogue(EmbeddingSpace("random", 4, "0" * 64), [Clip(clip, Path("/none"), clip.split(".")[0])
                                                             for clip in clips], vectors, vectors.mean(axis=0))


def array_folder(folder: Path, n_voxels: int = 30, layout: str = "voxels first", dtype: type = np.float32) -> Path:
    """Two training runs of four new clips, one test run of two clips four times; first clips dropped in the arrays."""
    folder.mkdir(exist_ok=True)

    def events(name: str, clips: list[str]) -> None:
        lines = [f"{15 * k}\t15\t'{clip.split('.')[0]}'\t{int(clip.split('.')[1])}\t0\t15"
                 for k, clip in enumerate(clips)]
        (folder / f"sub-001_{name}_events.tsv").write_text(
            "onset\tduration\tgenre\ttrack\tstart\tend\n" + "\n".join(lines) + "\n")

    tests = ["g7.00070", "g8.00080"]
    events("task-Training_run-01", [CLIPS[7], *CLIPS[:4]])
    events("task-Training_run-02", [CLIPS[3], *CLIPS[4:]])
    events("task-Test_run-01", [tests[1], *tests * 4])
    rng = np.random.default_rng(1)
    for name, n_clips in (("Training", 8), ("Test", 8)):
        array = rng.standard_normal((n_clips * 10, n_voxels)).astype(dtype)
        shaped = {"voxels first": array.T, "volumes first": array, "clips": array.reshape(n_clips, 10, -1)}[layout]
        np.save(folder / f"sub-001_Resp_{name}.npy", shaped)
    return folder


@pytest.mark.parametrize("layout", ["voxels first", "volumes first", "clips"])
def test_arrays_of_every_layout_become_the_same_runs_mapped_from_disk(tmp_path, layout) -> None:
    arrays = read_arrays(array_folder(tmp_path / "arrays", layout=layout))
    wanted = np.load(array_folder(tmp_path / "wanted", layout="volumes first") / "sub-001_Resp_Training.npy")
    responses = arrays.responses
    assert responses.tr_s == 1.5
    assert [(run.run_id[8:], len(run.responses), len(run.events)) for run in responses.runs] == [
        ("task-Test_run-01", 80, 8), ("task-Training_run-01", 40, 4), ("task-Training_run-02", 40, 4)]
    np.testing.assert_array_equal(np.concatenate([run.responses for run in responses.training]), wanted)
    assert all(isinstance(run.responses, np.memmap) for run in responses.runs)
    assert [event.onset_s for event in responses.training[0].events] == [0.0, 15.0, 30.0, 45.0]
    assert [event.clip_id for event in responses.training[1].events] == CLIPS[4:]
    assert arrays.notes == ("all 3 runs of sub-001 count as one session: no sidecar tells them apart",)


def test_the_last_clip_of_a_run_has_seven_of_its_ten_volumes_at_a_lag_of_three(tmp_path) -> None:
    run = read_arrays(array_folder(tmp_path / "arrays")).responses.training[0]
    table = find_trials([run], 1.5, [Window(3, 10)], 0.5)
    rows = whole_rows(table, 1.5, Window(3, 10))
    assert table.event.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(rows[0], run.responses[3:13].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows[3], run.responses[33:40].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert find_trials([run], 1.5, [Window(3, 10)], 0.8).event.tolist() == [0, 1, 2]
    left_out = find_trials([run], 1.5, [Window(3, 10)], 0.5, lambda _run, clip: clip == CLIPS[0])
    assert left_out.clip_ids == tuple(CLIPS[1:4])


def test_a_mean_over_repeats_is_one_cycle_of_each_test_run(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    whole = np.load(folder / "sub-001_Resp_Test.npy")
    (folder / "sub-001_Resp_Test.npy").unlink()
    np.save(folder / "sub-001_Resp_Test_Mean.npy", whole.reshape(30, 4, 20).mean(axis=1))
    test, = read_arrays(folder).responses.test
    assert [event.clip_id for event in test.events] == ["g7.00070", "g8.00080"]
    assert test.responses.shape == (20, 30)


@pytest.mark.parametrize(("shape", "sentence"), [
    ((30, 81), r"has shape \(30, 81\), wanted \(n_voxels, 80\), \(80, n_voxels\) or \(8, 10, n_voxels\): 8 clips"),
    ((80, 80), "as many voxels as volumes"), ((10, 8, 30), r"has shape \(10, 8, 30\)"), ((80,), r"has shape \(80,\)"),
    ((31, 80), "has 30 voxels, sub-001_Resp_Training.npy 31"),
])
def test_shapes_that_do_not_fit_are_refused(tmp_path, shape, sentence) -> None:
    folder = array_folder(tmp_path / "arrays")
    np.save(folder / "sub-001_Resp_Training.npy", np.ones(shape, np.float32) * np.arange(shape[-1]))
    with pytest.raises(DatasetError, match=sentence):
        read_arrays(folder)


def test_constant_voxels_are_named_and_left_out_and_nothing_but_them_is_refused(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays", dtype=np.float64)
    array = np.load(folder / "sub-001_Resp_Training.npy")
    array[4, :40], array[7, 3] = 2.5, np.nan
    np.save(folder / "sub-001_Resp_Training.npy", array)
    arrays = read_arrays(folder)
    assert arrays.notes[0] == ("2 of 30 voxels are constant in a training run or hold NaN, the first is voxel 4: they "
                               "are left out")
    assert arrays.responses.runs[0].responses.shape == (80, 28)
    assert arrays.responses.runs[0].responses.dtype == np.float32
    np.save(folder / "sub-001_Resp_Training.npy", np.zeros((30, 80)))
    with pytest.raises(DatasetError, match=r"none of the 30 voxels .* varies"):
        read_arrays(folder)


def test_regions_come_from_a_table_with_a_row_per_voxel(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    table = folder / "sub-001_regions.tsv"
    table.write_text("region\n" + "\n".join(["STG", "n/a", "HG"] * 10) + "\n")
    responses = read_arrays(folder).responses
    assert responses.region_names == ("STG", "HG")
    assert responses.regions.tolist() == [0, -1, 1] * 10
    table.write_text("region\nSTG\n")
    with pytest.raises(DatasetError, match="has 1 rows, wanted a column 'region' and a row for each of the 30 voxels"):
        read_arrays(folder)


def test_arrays_without_events_or_of_somebody_else_are_refused(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    with pytest.raises(DatasetError, match="holds response arrays of subjects 001; choose one of them, got '002'"):
        read_arrays(folder, "002")
    (folder / "sub-001_task-Training_run-01_events.tsv").write_text("onset\tduration\tgenre\ttrack\n0\tx\t'a'\t1\n")
    with pytest.raises(EventsError, match="not a usable events file"):
        read_arrays(folder)
    for events in folder.glob("*.tsv"):
        events.unlink()
    with pytest.raises(DatasetError, match="do not say what was heard"):
        read_arrays(folder)


def musical_arrays(folder: Path, corpus: Path) -> Path:
    """`array_folder` with forty voxels that tell of the corpus's music, three volumes late."""
    array_folder(folder, n_voxels=40)
    music = read_catalogue(corpus)
    names = dict(zip([*CLIPS, "g7.00070", "g8.00080"], [clip.clip_id for clip in music.clips[:10]], strict=True))
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((music.space.dim, 40))
    for task in ("Training", "Test"):
        array = []
        for path in sorted(folder.glob(f"*task-{task}*_events.tsv")):
            lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
            clips = [names[f"{line[2].strip(chr(39))}.{int(line[3]):05d}"] for line in lines]
            path.write_text("onset\tduration\tclip_id\n" + "".join(
                f"{line[0]}\t{line[1]}\t{clip}\n" for line, clip in zip(lines, clips, strict=True)))
            signal = np.repeat([music.embedding(clip) for clip in clips[1:]], 10, axis=0) @ mixing
            array.append(np.roll(signal, 3, axis=0) + rng.standard_normal(signal.shape))
        np.save(folder / f"sub-001_Resp_{task}.npy", np.concatenate(array).T)
    return folder


def test_a_decoder_of_arrays_comes_from_the_command_line_and_bad_input_leaves_nothing(tmp_path) -> None:
    corpus = builders.write_corpus(tmp_path / "corpus")
    folder = musical_arrays(tmp_path / "arrays", corpus)
    out, figures = tmp_path / "decoder", tmp_path / "figures.json"
    arguments = ["train", str(folder), str(out), "--catalogue", str(corpus), "--json", str(figures)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "it cannot run live" in done.output
    assert sorted(path.name for path in out.iterdir()) == ["decoder.npz", "figures.json"]
    said = json.loads(figures.read_text())
    assert (said["n_training_trials"], said["n_trials"], said["n_clips"], said["n_sessions"]) == (8, 8, 2, 1)
    assert said == json.loads((out / "figures.json").read_text())
    shutil.rmtree(out)
    (folder / "sub-001_task-Training_run-02_events.tsv").write_text("onset\tduration\tclip_id\n0\t15\tclip00\n")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code != 0
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()
    assert not out.with_name("decoder.part").exists()


def test_a_decoder_of_arrays_is_evaluated_as_a_bundle_is(tmp_path) -> None:
    corpus = tmp_path / "corpus"
    build_corpus(corpus, CorpusSettings(n_per_genre=1, n_test_per_genre=0, duration_s=5.0, rate_hz=16000))
    index_corpus(corpus, open_embedder("synth-128"))
    folder, out = musical_arrays(tmp_path / "arrays", corpus), tmp_path / "decoder"
    trained = CliRunner().invoke(app, ["train", str(folder), str(out), "--catalogue", str(corpus)])
    assert trained.exit_code == 0, trained.output
    figures, page = tmp_path / "figures.json", tmp_path / "page.html"
    done = CliRunner().invoke(app, ["evaluate", str(out), str(folder), "--catalogue", str(corpus), "--whole",
                                    "--permutations", "1000", "--music", "0", "--json", str(figures), "--html",
                                    str(page)])
    assert done.exit_code == 0, done.output
    said, before = json.loads(figures.read_text()), json.loads((out / "figures.json").read_text())
    assert (said["about"]["subject"], said["about"]["n_voxels"]) == ("sub-001", 40)
    assert said["identification_accuracy"] == before["identification_accuracy"]
    assert said["single_trials"]["identification"]["value"] == pytest.approx(before["identification_accuracy"])
    assert {"clips_averaged", "time_course", "repeats", "sureness", "controls", "leakage", "targets",
            "encoding"} <= said.keys()
    assert "motion only" not in said["controls"]  # arrays do not say how the head moved
    assert [one["volume"] for one in said["time_course"]["single_volume"]] == list(
        range(said["about"]["lag_volumes"] + said["about"]["window_volumes"]))
    assert "Was the music decoded?" in page.read_text()


def test_what_arrays_decode_is_the_decoder_of_the_mean_of_their_volumes(tmp_path) -> None:
    folder = array_folder(tmp_path / "arrays")
    responses = read_arrays(folder).responses
    rng = np.random.default_rng(5)
    linear = LinearMap(np.array([2, 7, 11]), rng.normal(size=3), np.ones(3), rng.normal(size=(3, 4)),
                       rng.normal(size=4))
    maps = np.zeros((6, 1, 4), np.float32)
    facts = DecoderFacts("one", "sub-001", EmbeddingSpace("four", 4, "0" * 64), 3, 1.5, 3, 6,
                         Reliability(np.zeros(4, np.float32), maps, maps, np.zeros(6, np.float32)))
    (tmp_path / "out").mkdir()
    write_array_decoder(tmp_path / "out", ArrayDecoder(facts, linear, 30))
    run, = decode_arrays(read_array_decoder(tmp_path / "out"), responses)
    rows = responses.test[0].responses[:, linear.voxels]
    assert run.clip_ids == ("g7.00070", "g8.00080") * 4
    np.testing.assert_allclose(run.embeddings[3, 2], linear.apply(rows[23:27].mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(run.single[5, 2], linear.apply(rows[25]), rtol=1e-5)
    assert np.isfinite(run.embeddings[:, 6]).all()
    with pytest.raises(DatasetError, match=r"have 30 usable voxels .* was trained on 31"):
        decode_arrays(ArrayDecoder(facts, linear, 31), responses)
    with pytest.raises(DatasetError, match="cannot be read as a decoder of arrays"):
        read_array_decoder(tmp_path)
    (folder / "sub-001_Resp_Test.npy").unlink()
    with pytest.raises(DatasetError, match="has no test array"):
        decode_arrays(ArrayDecoder(facts, linear, 30), read_arrays(folder).responses)
