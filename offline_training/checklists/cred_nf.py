"""CRED-nf: what a neurofeedback study should report (Ros et al. 2020, Brain 143:1674-1685), by number, in our words."""

from collections.abc import Iterator

from offline_training.checklists import facts as words
from offline_training.checklists.facts import Facts
from offline_training.checklists.item import Item, Line

_LINES = {line.number: line for line in (
    Line("1a", "Before the experiment", "Preregistration of protocol and analyses"),
    Line("1b", "Before the experiment", "Justification of the sample size"),
    Line("2a", "Control groups", "Control group or condition"),
    Line("2b", "Control groups", "Double-blind design"),
    Line("2c", "Control groups", "Blinding of raters and analysts"),
    Line("2d", "Control groups", "Whether blinding held"),
    Line("2e", "Control groups", "Standard of care as a benchmark, in clinical studies"),
    Line("3a", "Control measures", "Psychosocial factors"),
    Line("3b", "Control measures", "Whether a strategy was given"),
    Line("3c", "Control measures", "Strategies that were used"),
    Line("3d", "Control measures", "Online processing and correction of artefacts"),
    Line("3e", "Control measures", "Artefacts by condition and group"),
    Line("4a", "Feedback", "Definition of the feature that was extracted online"),
    Line("4b", "Feedback", "Schedule of reinforcement and its justification"),
    Line("4c", "Feedback", "Modality and content of the feedback"),
    Line("4d", "Feedback", "All brain variables used for feedback, as they were shown"),
    Line("4e", "Feedback", "Hardware and software"),
    Line("5a", "Outcome: brain", "Success of regulation, by the feedback signal"),
    Line("5b", "Outcome: brain", "Course of the feedback variable within and between sessions"),
    Line("5c", "Outcome: brain", "Statistical comparison with the control"),
    Line("6a", "Outcome: behaviour", "Measures of clinical or behavioural significance, set beforehand"),
    Line("6b", "Outcome: behaviour", "Relation of regulation and behaviour"),
    Line("7a", "Data", "Open materials, code and data"),
)}


def cred_nf(known: Facts) -> tuple[Item, ...]:
    """The whole checklist, answered as far as the record goes."""
    answered = {item.number: item for part in (_controls, _measures, _feedback, _outcome) for item in part(known)}
    questions = {
        "1a": "Where and when were protocol and analyses registered?", "1b": "How was the sample size decided?",
        "2e": "Was there a standard-of-care group? Not applicable outside clinical studies.",
        "3a": "Which psychosocial factors (expectation, motivation, mood) were measured, and how?",
        "3b": "What were participants told to do, word for word?",
        "3c": "Which strategies did participants report?",
        "5c": "How do the groups differ? `innerear imagery VISIT... --groups TABLE` compares two of them.",
        "6a": "Which behavioural or clinical outcomes were set beforehand, and were they reached?",
        "6b": "How does regulation relate to these outcomes?"}
    return tuple(answered.get(number) or line.asked(questions[number]) for number, line in _LINES.items())


def _controls(known: Facts) -> Iterator[Item]:
    if not known.blinded:
        yield _LINES["2a"].asked("This recording has no control arm. Which control is it compared with?")
        yield _LINES["2b"].asked("Was the study blinded, and who was?")
        yield _LINES["2c"].asked("Were those who rated and analysed blind?")
        yield _LINES["2d"].asked("If anybody was blind: did it hold?")
        return
    arm = f"this person's arm: {known.arm}" if known.arm else "this person's arm is sealed"
    yield _LINES["2a"].filled(f"feedback by a sealed, balanced allocation to arms; {arm}", "design.json, allocation",
                              "" if known.arm else "Which arms were there? (innerear allocation open)")
    yield _LINES["2b"].filled("participant and operator: nothing the console and the bus told could tell the arm, nor "
                              "when it was told", "design.json (blinded)")
    yield _LINES["2c"].filled("reports and exported data withhold what could tell the arm until it is opened",
                              "this page; innerear export bids", "Who rated and analysed, and when was it opened?")
    yield _LINES["2d"].asked("What did participants and operators guess? `innerear allocation guess` asks, `innerear "
                             "allocation blinding` gives Bang's index.")


def _measures(known: Facts) -> Iterator[Item]:
    if known.hidden or known.settings is None:
        yield _LINES["3d"].withheld() if known.hidden else _LINES["3d"].asked("How were data processed online?")
    else:
        yield _LINES["3d"].filled(words.preprocessing(known.settings), "bundle/manifest.json (preprocessing)")
    yield _LINES["3e"].filled(known.per_run(lambda run: words.quality(run.view)), "record.jsonl (fd_mm, status)",
                              "How do they compare between groups? Was respiration recorded?")


def _feedback(known: Facts) -> Iterator[Item]:
    yield _LINES["4a"].withheld() if known.hidden else _LINES["4a"].filled(
        words.decoder(known.first), "bundle/manifest.json", "Why these regions?")
    yield _LINES["4b"].filled(known.per_run(words.feedback_rule), "design.json; session.json (selection)",
                              "Why this schedule?")
    played = sum(run.view.steps.playing.count("") < len(run.view.steps.playing) for run in known.fed_back)
    yield _LINES["4c"].filled(f"sound: music from a catalogue of {known.first.start['n_clips']} clips; what left the "
                              f"program is recorded sample by sample ({'' if known.hidden else f'{played} runs, '}"
                              "played.wav)", "catalogue/corpus.json; played.wav",
                              "Through which headphones, at which level at the ear?")
    yield _LINES["4d"].withheld() if known.hidden else _LINES["4d"].filled(
        f"{sum(len(run.view.steps.volume) for run in known.runs)} volumes with decoded vector, posterior, score and "
        "what was fed back, bit for bit", "record.jsonl; innerear export bids (desc-nfb_timeseries.tsv)")
    sink = known.first.summary.get("sink") or "not known"
    yield _LINES["4e"].filled(f"{known.first.start['software']}; sound by {sink}; images: "
                              f"{known.first.start['run']['source'] or 'source not named'}",
                              "record.jsonl (software); summary.json", "Which scanner, coil, computer and sound card?")


def _outcome(known: Facts) -> Iterator[Item]:
    if known.hidden:
        yield from (_LINES[number].withheld() for number in ("5a", "5b"))
    else:
        yield _LINES["5a"].filled(known.per_run(lambda run: words.identification(run.view)), "summary.json",
                                  "Which of these was set beforehand as success?")
        yield _LINES["5b"].filled("drawn for every run and over the visit", "report.html",
                                  "Which baselines before and after are compared?")
    yield _LINES["7a"].filled("the program is open source; `innerear export bids` writes images, events, feedback and "
                              "sound as BIDS", "README", "Where do data and analysis scripts lie?")
