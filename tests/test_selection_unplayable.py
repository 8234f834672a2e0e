"""A clip whose file went after the session had begun: skipped, recorded, never chosen again; the music goes on."""

import json
from dataclasses import replace
from pathlib import Path

from realtime.music.catalogue import read_catalogue
from realtime.playback.recorder import read_played
from realtime.session.core import LiveCore
from realtime.session.folder import SessionFolder
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


def test_what_played_before_plays_on_and_a_late_word_of_it_changes_nothing_else() -> None:
    live = LiveCore(builders.header(None), builders.parts())
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
