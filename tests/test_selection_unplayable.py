"""A clip whose file went after the session had begun: skipped, recorded, never chosen again; the music goes on."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

from realtime.messages import Cue
from realtime.music.catalogue import read_catalogue
from realtime.playback import protocol
from realtime.playback.lasting import LastingPlayer
from realtime.playback.recorder import read_played
from realtime.playback.settings import PlayerSettings
from realtime.session.core import LiveCore
from realtime.session.folder import SessionFolder
from realtime.session.parts import Parts
from realtime.session.record import read_documents
from tests import builders
from tests.loopback import free_endpoint
from tests.processes import command, finish, live_command, make_world, running, until

N_VOLUMES = 30


def test_the_player_skips_it_and_the_session_chooses_others(tmp_path: Path) -> None:
    world = make_world(tmp_path, N_VOLUMES)
    parts = replace(builders.parts(N_VOLUMES // 5), index=read_catalogue(world.catalogue))
    live, chosen = LiveCore(builders.header(N_VOLUMES), parts), []
    for volume in builders.run_of(builders.volumes(N_VOLUMES)):
        chosen += [step.cue.clip_id for step in map(live.decide, live.perceive(volume).percepts) if step.cue]
    gone = chosen[1]
    session, endpoint = tmp_path / "session", free_endpoint()
    folder = SessionFolder(session)
    with running(live_command(world, session, endpoint)) as program:
        until(lambda: folder.played.exists(), "the player has started")
        (world.catalogue / f"{gone}.wav").unlink()
        serve = command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "5")
        with running(serve) as bridge:
            finish(bridge)
            complaints = finish(program)
    documents = list(read_documents(folder.record))
    events = [document for document in documents if document["doc"] == "event"]
    assert [event["text"] for event in events if event["name"] == "unplayable"] == [gone]
    assert f"Clip '{gone}' cannot be read any more" in complaints
    place = next(k for k, document in enumerate(documents) if document.get("name") == "unplayable")
    after = [document["playing"] for document in documents[place:] if document["doc"] == "step"]
    assert len(after) > 5
    assert gone not in after
    assert "" not in after
    figures = json.loads(folder.summary.read_text())
    assert (figures["status"], figures["gaps"]) == ("complete", 0)
    assert abs(read_played(folder.played).frames).max() > 0.01
    with running(command("verify", session)) as verification:
        finish(verification)


def quick_to_believe(parts: Parts) -> Parts:
    evidence_map, clip_map, tail = builders.alike(builders.DIM, (0.5,) * 4)
    return replace(parts, bundle=replace(parts.bundle, evidence_map=evidence_map, clip_map=clip_map,
                                         tail=tail))


def test_what_played_before_plays_on_and_a_late_word_of_it_changes_nothing_else() -> None:
    live = LiveCore(builders.header(None), quick_to_believe(builders.parts()))
    cues, run = [], builders.run_of(builders.volumes(40))
    for volume in run:
        for percept in live.perceive(volume).percepts:
            step = live.decide(percept)
            cues += [step.cue.clip_id] if step.cue else []
        if len(cues) == 2:
            break
    first, second = cues
    assert live.playing == second
    reaction = live.event("unplayable", second)
    assert (live.playing, reaction.cue) == (first, None)
    live.event("unplayable", "no clip of this name")
    assert live.playing == first
    live.event("unplayable", first)
    assert live.playing == ""
    steps = [live.decide(percept) for volume in run[live.next_index :] for percept in live.perceive(volume).percepts]
    assert {first, second}.isdisjoint(step.document["playing"] for step in steps)
    assert live.playing


def test_a_player_that_dies_after_a_file_has_gone_still_comes_back(tmp_path: Path) -> None:
    clips = read_catalogue(builders.write_corpus(tmp_path / "corpus", n_clips=2)).clips

    async def session() -> list[str]:
        player = await LastingPlayer.start(PlayerSettings(played_wav=tmp_path / "played.wav", sink="wav"), clips)
        heard, events = [], player.events()
        player.play(Cue(0, 0, "clip00"))
        async with asyncio.timeout(60):
            async for event in events:
                match event:
                    case protocol.Sounding() if not heard:
                        heard.append(event.clip_id)
                        clips[1].path.unlink()
                        os.kill(player._player.pid, signal.SIGKILL)
                    case protocol.Sounding():
                        heard.append(event.clip_id)
                        player.play(Cue(1, 1, "clip01"))
                    case protocol.Rejected():
                        heard.append(event.reason)
                        break
        await player.close()
        return heard

    first, again, refusal = asyncio.run(session())
    assert (first, again) == ("clip00", "clip00")
    assert "'clip01' is none of the player's 1 clips" in refusal
