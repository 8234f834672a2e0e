"""One's own music: whatever comes in, what comes out is playable, level, cut on the beat, and the same every time."""

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus import read_corpus
from offline_training.corpus_build import BuildSettings, make_corpus_of
from offline_training.corpus_sources import Wanted, find_tracks
from offline_training.errors import DatasetError
from offline_training.targets import LogMelEmbedder
from realtime.errors import CatalogueError
from realtime.music import catalogue as catalogue_module
from realtime.music.catalogue import read_catalogue
from realtime.music.synth import ClipSpec, render
from realtime.playback.clips import ClipLibrary

DS003720 = Path(__file__).resolve().parents[2] / "shared" / "data" / "bids" / "ds003720"
QUICK = BuildSettings(clip_s=3.0, most_per_track=1)


def music(seconds: float, rate_hz: int = 48000, channels: int = 2, seed: int = 1) -> np.ndarray:
    audio = render(ClipSpec("disco", seed, seconds, rate_hz)).audio[: round(seconds * rate_hz)]
    return np.repeat(audio.mean(axis=1, keepdims=True), channels, axis=1) if channels != 2 else audio


def write(path: Path, audio: np.ndarray, rate_hz: int = 48000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate_hz, subtype=subtype)
    return path


@pytest.fixture(scope="module")
def odd_music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every rate, depth, number of channels and container; and everything that can be wrong with a file."""
    folder = tmp_path_factory.mktemp("music")
    write(folder / "telephone.wav", music(4.0, 8000, 1), 8000, "PCM_16")
    write(folder / "studio.flac", music(4.0, 96000), 96000, "PCM_24")
    write(folder / "high.wav", music(3.0, 192000), 192000, "FLOAT")
    write(folder / "loud.wav", 8.0 * music(4.0), subtype="FLOAT")
    write(folder / "eleven.wav", music(4.0, 44100, 11), 44100, "PCM_24")
    write(folder / "deep" / "er" / "lossy é.ogg", music(4.0, 44100), 44100)
    write(folder / "lossy.mp3", music(4.0, 44100), 44100)
    write(folder / "two" / "same.wav", music(4.0, seed=3))
    write(folder / "one" / "same.wav", music(4.0, seed=4))
    write(folder / "bad" / "silent.wav", np.zeros((200000, 2)))
    write(folder / "bad" / "nan.wav", np.full((200000, 2), np.nan), subtype="FLOAT")
    write(folder / "bad" / "short.wav", music(1.0))
    write(folder / "bad" / "nothing.wav", np.zeros((0, 2)))
    (folder / "bad" / "empty.mp3").write_bytes(b"")
    (folder / "bad" / "text.flac").write_text("this is no music")
    (folder / "cover.jpg").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def corpus(odd_music: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("corpora") / "odd"
    with ThreadPoolExecutor(2) as executor:
        return make_corpus_of(odd_music, out, QUICK, executor)


def test_whatever_can_be_decoded_is_playable_and_level(corpus) -> None:
    names = {"telephone", "studio", "high", "loud", "eleven", "lossy_é", "lossy", "one_same", "two_same"}
    assert {clip.clip_id for clip in corpus.clips} == names
    catalogue = read_catalogue(corpus.folder)
    library = ClipLibrary(catalogue.clips, 48000)
    for clip in corpus.clips:
        audio, rate_hz = soundfile.read(corpus.folder / clip.file, always_2d=True)
        assert (rate_hz, clip.duration_s >= 2.9) == (48000, True)
        assert np.abs(audio).max() < 1.0
        both = np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio
        assert pyloudnorm.Meter(48000).integrated_loudness(both) + clip.gain_db == pytest.approx(-23.0, abs=0.1)
        assert np.isfinite(library.load(clip.clip_id).frames).all()


def test_whatever_cannot_be_used_is_named_with_its_reason(corpus) -> None:
    reasons = {skipped.file: skipped.reason for skipped in corpus.skipped}
    assert reasons.keys() == {f"bad/{name}" for name in ("silent.wav", "nan.wav", "short.wav", "nothing.wav",
                                                         "empty.mp3", "text.flac")}
    for name, words in {"silent.wav": "silent", "nan.wav": "no numbers", "short.wav": "lasts 1.00 s, wanted 2 s",
                        "nothing.wav": "empty", "text.flac": "cannot be decoded", "empty.mp3": ""}.items():
        assert words in reasons[f"bad/{name}"]
    assert read_corpus(corpus.folder).skipped == corpus.skipped


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def build_command(folder: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "innerear", "corpus", "build", str(folder), "--out", str(out), "--clip-s", "3",
            "--per-track", "1", "--workers", "1", *more]


def test_killed_in_the_middle_and_started_again_it_makes_the_same_bytes(corpus, odd_music, tmp_path) -> None:
    out = tmp_path / "killed"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(build_command(odd_music, out), **quiet) as killed:
        try:
            deadline = time.monotonic() + 120
            while len(list(out.glob("tracks/*.json"))) < 4:
                assert killed.poll() is None, "it ended before it was killed"
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            killed.send_signal(signal.SIGKILL)
    assert not (out / "corpus.json").exists()
    half = {path: path.stat().st_mtime_ns for path in out.glob("tracks/*.json")}
    done = subprocess.run(build_command(odd_music, out), capture_output=True, text=True, check=True)
    assert "9 clips" in done.stdout
    assert "bad/text.flac: it cannot be decoded" in done.stdout
    assert all(path.stat().st_mtime_ns == then for path, then in half.items()), "a finished file was done again"
    assert contents(out) == contents(corpus.folder)


def test_music_that_came_changed_or_went_is_taken_up_and_nothing_else_is_done_again(tmp_path) -> None:
    folder, out = tmp_path / "music", tmp_path / "corpus"
    for number in range(3):
        write(folder / f"piece{number}.wav", music(3.0, seed=number))
    with ThreadPoolExecutor(1) as executor:
        before = make_corpus_of(folder, out, QUICK, executor)
        kept = out / "clips" / "piece1.flac"
        written = kept.stat().st_mtime_ns
        (folder / "piece0.wav").unlink()
        write(folder / "piece2.wav", music(3.0, seed=12))
        write(folder / "piece3.wav", music(3.0, seed=13))
        after = make_corpus_of(folder, out, QUICK, executor)
    assert [clip.clip_id for clip in after.clips] == ["piece1", "piece2", "piece3"]
    assert after.clips[0] == before.clips[1]
    assert after.clips[1].sha256 != before.clips[2].sha256
    assert kept.stat().st_mtime_ns == written
    assert not (out / "clips" / "piece0.flac").exists()


def test_a_file_that_vanishes_while_it_is_read_is_named(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "music"
    for number in range(3):
        write(folder / f"piece{number}.wav", music(3.0, seed=number))

    class Late(ThreadPoolExecutor):
        def submit(self, *arguments, **options):
            (folder / "piece1.wav").unlink(missing_ok=True)
            return super().submit(*arguments, **options)

    with Late(1) as executor:
        made = make_corpus_of(folder, tmp_path / "corpus", QUICK, executor)
    assert [(one.file, one.reason) for one in made.skipped] == [("piece1.wav", "it has vanished")]


def test_long_pieces_give_several_clips_that_begin_on_a_bar(tmp_path) -> None:
    made = render(ClipSpec("disco", 5, 40.0, 48000))
    offset_s = 0.31
    write(tmp_path / "music" / "long.wav", np.concatenate([np.zeros((round(offset_s * 48000), 2)), made.audio]))
    with ThreadPoolExecutor(1) as executor:
        corpus = make_corpus_of(tmp_path / "music", tmp_path / "corpus", BuildSettings(8.0, 3, dim=1), executor)
    assert [clip.clip_id for clip in corpus.clips] == ["long-01", "long-02", "long-03"]
    starts = [float(clip.labels["start_s"]) for clip in corpus.clips]
    assert np.diff(starts).min() >= 8.0
    for clip in corpus.clips:
        assert clip.bpm == pytest.approx(made.bpm, rel=0.01)
        bar_s = 240.0 / clip.bpm
        n_bars = (clip.duration_s - clip.first_beat_s) / bar_s
        assert n_bars == pytest.approx(round(n_bars), abs=0.02)
        assert 8.0 <= clip.duration_s < 8.0 + bar_s + 0.1


def test_labels_licences_and_exclusions_decide_and_are_kept(tmp_path) -> None:
    folder = tmp_path / "music"
    for name in ("a", "b", "c", "d"):
        write(folder / f"{name}.wav", music(2.0, 8000, 1), 8000)
    table = tmp_path / "labels.csv"
    table.write_text("file,genre,licence,artist,split\na.wav,jazz,CC BY 4.0,Ada,training\n"
                     "b,blues,All rights reserved,Bob,\nc.wav,jazz,cc by-sa,Cy,test\n")
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("c*\n\n")
    found = find_tracks(folder, Wanted(table, ("CC BY*",), exclude))
    assert [(track.track_id, track.genre, track.licence, track.labels, track.split) for track in found.tracks] == [
        ("a", "jazz", "CC BY 4.0", {"artist": "Ada"}, "training")]
    assert dict(found.left_out) == {"b.wav": "its licence is 'All rights reserved'",
                                    "c.wav": "on the list of what to leave out", "d.wav": "its licence is 'unknown'"}


def test_fma_is_read_as_it_ships(tmp_path) -> None:
    folder = tmp_path / "fma_small"
    write(folder / "000" / "000002.mp3", music(2.0, 44100), 44100)
    write(folder / "000" / "000005.mp3", music(2.0, 44100), 44100)
    metadata = tmp_path / "fma_metadata" / "tracks.csv"
    metadata.parent.mkdir()
    metadata.write_text(",album,artist,set,set,track,track,track\n,title,name,split,subset,genre_top,license,title\n"
                        "track_id,,,,,,,\n2,AWOL,\"AWOL, inc\",training,small,Hip-Hop,CC BY-NC,Food\n"
                        "5,AWOL,AWOL,test,small,Hip-Hop,,This World\n")
    tracks = find_tracks(folder, Wanted()).tracks
    assert [(track.track_id, track.genre, track.split, track.licence) for track in tracks] == [
        ("000002", "Hip-Hop", "training", "CC BY-NC"), ("000005", "Hip-Hop", "test", "")]
    assert tracks[0].labels == {"title": "Food", "artist": "AWOL, inc"}
    metadata.write_text("no,fma\n")
    with pytest.raises(DatasetError, match=r"is not FMA's tracks.csv"):
        find_tracks(folder, Wanted())


@pytest.mark.data
def test_the_stimuli_of_ds003720_are_cut_from_gtzan_as_they_were_heard(tmp_path) -> None:
    if not DS003720.is_dir():
        pytest.skip(f"no recorded data in {DS003720}")
    folder, events = tmp_path / "genres_original", tmp_path / "ds003720"
    events.mkdir()
    shipped = next(DS003720.rglob("sub-001_task-Training_run-01_events.tsv"))
    (events / shipped.name).write_text("\n".join(shipped.read_text().splitlines()[:4]) + "\n")
    pieces = ("disco/disco.00009", "blues/blues.00098", "hiphop/hiphop.00053", "rock/rock.00999")
    for number, name in enumerate(pieces):
        write(folder / f"{name}.wav", music(30.0, 22050, 1, seed=number), 22050)
    with ThreadPoolExecutor(2) as executor:
        corpus = make_corpus_of(folder, tmp_path / "corpus", BuildSettings(wanted=Wanted(excerpts=events), dim=1),
                                executor)
    assert [(clip.clip_id, clip.genre, clip.labels["start_s"]) for clip in corpus.clips] == [
        ("blues.00098", "blues", "6.460"), ("disco.00009", "disco", "4.210"), ("hiphop.00053", "hiphop", "0.400")]
    assert [skipped.reason for skipped in corpus.skipped] == ["no event names it"]
    assert corpus.heard_s == pytest.approx(15.0)
    audio, _ = soundfile.read(corpus.folder / corpus.clips[0].file)
    assert len(audio) == 15 * 48000
    assert np.abs(audio[:4800]).max() < 0.1 * np.abs(audio).max(), "faded in over two seconds"
    rms = [np.sqrt(np.mean(soundfile.read(corpus.folder / clip.file)[0] ** 2)) for clip in corpus.clips]
    np.testing.assert_allclose(rms, 0.05, rtol=1e-2)  # as loud as each other, after the fades
    assert {clip.split for clip in corpus.clips} == {"training"}
    with pytest.raises(DatasetError, match="lacks the audio of 537 of 540 clips that the events name, the first is "
                                           r"blues.000\d\d; no file there is of genre 'classical', 'country'"):
        find_tracks(folder, Wanted(excerpts=DS003720))


def test_a_given_embedder_puts_the_music_in_its_space(corpus, odd_music, tmp_path) -> None:
    shutil.copytree(odd_music / "one", tmp_path / "music")
    arguments = ["corpus", "build", str(tmp_path / "music"), "--embedder", str(corpus.folder / "embedder.npz"),
                 "--workers", "1", "--clip-s", "3"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    made = read_catalogue(tmp_path / "music-corpus")
    assert made.space == corpus.space
    assert LogMelEmbedder.load(tmp_path / "music-corpus" / "embedder.npz").space == corpus.space


@pytest.mark.parametrize(("wanted", "sentence"), [
    (Wanted(table=Path("/nowhere.csv")), "table /nowhere.csv cannot be read"),
    (Wanted(exclude=Path("/nowhere.txt")), "list /nowhere.txt"),
    (Wanted(excerpts=Path("/nowhere")), r"no \*_events.tsv below /nowhere"),
])
def test_a_list_that_cannot_be_read_is_one_sentence(odd_music, wanted, sentence) -> None:
    with pytest.raises(DatasetError, match=sentence):
        find_tracks(odd_music, wanted)


def test_a_folder_that_cannot_be_used_is_one_sentence(odd_music, corpus, tmp_path) -> None:
    with ThreadPoolExecutor(1) as executor:
        for folder, out, sentence in [
            (tmp_path / "none", tmp_path / "out", r"no folder of music .* innerear corpus compose"),
            (corpus.folder / "tracks", tmp_path / "out", "holds no audio"),
            (odd_music / "bad", tmp_path / "out", "none of the 6 files in .* gave a clip"),
            (odd_music, odd_music / "corpus", "would lie in the music folder"),
        ]:
            with pytest.raises(DatasetError, match=sentence):
                make_corpus_of(folder, out, QUICK, executor)
    with pytest.raises(DatasetError, match="clip_s is 1, wanted 2 to 120; most_per_track is 0"):
        BuildSettings(clip_s=1.0, most_per_track=0)


def test_a_large_catalogue_is_checked_by_size(corpus, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "large"
    shutil.copytree(corpus.folder, folder)
    monkeypatch.setattr(catalogue_module, "HASHED_BYTES", 1000)
    read_catalogue(folder)
    (folder / corpus.clips[0].file).write_bytes(b"torn")
    (folder / corpus.clips[1].file).unlink()
    with pytest.raises(CatalogueError, match=r"has 4 bytes, wanted \d+; .*cannot be read"):
        read_catalogue(folder)


def test_entries_of_an_older_program_are_still_read(corpus, tmp_path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(corpus.folder, folder)
    document = json.loads((folder / "corpus.json").read_text())
    del document["skipped"]
    for entry in document["clips"]:
        del entry["n_bytes"]
    (folder / "corpus.json").write_text(json.dumps(document))
    assert len(read_catalogue(folder).clips) == len(read_corpus(folder).clips) == len(corpus.clips)
