"""What makes each genre sound like itself, as data.

Patterns have 16 characters, one per sixteenth of a 4/4 bar.

- drums: `x` hit, `o` soft hit, `.` rest;
- bass: `1` root, `3` third, `5` fifth, `7` seventh, `8` octave, `w` a step that walks to the next
  chord, `-` hold, `.` rest;
- chords: `x` short, `o` held until the next symbol, `a` one note of a broken chord, `.` rest.
"""

from dataclasses import dataclass

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
MELODY_SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "major_pentatonic": (0, 2, 4, 7, 9),
    "minor_pentatonic": (0, 3, 5, 7, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}


@dataclass(frozen=True)
class DrumPart:
    """Kit and one-bar patterns, each a mapping from sound to 16 steps; empty for no drums."""

    kit: str
    patterns: tuple[tuple[tuple[str, str], ...], ...]
    level: float = 1.0


@dataclass(frozen=True)
class BassPart:
    """Voices and one-bar patterns of the bass."""

    voices: tuple[str, ...]
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class ChordPart:
    """Voices and one-bar patterns of the chords; `size` notes stacked in thirds, 2 is root and fifth."""

    voices: tuple[str, ...]
    patterns: tuple[str, ...]
    size: int = 3
    centre: int = 60


@dataclass(frozen=True)
class LeadPart:
    """Voices of the melody, notes per beat, MIDI centre and scale."""

    voices: tuple[str, ...]
    density: float
    centre: int
    scale: str


@dataclass(frozen=True)
class Style:
    """One genre.

    Attributes
    ----------
    bpm : tuple of float
        Lowest and highest tempo.
    swing : float
        Delay of every second eighth, fraction of a sixteenth (0 straight, 0.67 triplets).
    scales : tuple of str
        Names in SCALES the chords are built on.
    progressions : tuple of tuple of int
        Scale degrees from 0, one chord per bar.
    pad : tuple of str
        Voices that hold the chord; empty for none.
    reverb : float
        Wet gain.
    """

    bpm: tuple[float, float]
    swing: float
    scales: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]
    drums: DrumPart
    bass: BassPart
    chords: ChordPart
    lead: LeadPart
    pad: tuple[str, ...] = ()
    reverb: float = 0.12


_BACKBEAT = ("snare", "....x.......x...")
_EIGHTHS = ("hat", "x.o.x.o.x.o.x.o.")

STYLES = {
    "blues": Style(
        (68, 96), 0.64, ("mixolydian",), ((0, 3, 0, 4), (0, 0, 3, 0), (0, 3, 4, 0)),
        DrumPart("acoustic", ((("kick", "x.......x.x....."), _BACKBEAT, ("ride", "x.x.x.x.x.x.x.x.")),
                              (("kick", "x.....x.x......."), _BACKBEAT, _EIGHTHS)), 0.75),
        BassPart(("electric_bass", "upright_bass"), ("1-1-3-3-5-5-7-7-", "1-3-5-7-8-7-5-3-")),
        ChordPart(("clean_guitar", "organ", "piano"), ("....x.......x...", "..x...x...x...x."), 4, 57),
        LeadPart(("harmonica", "overdriven_guitar"), 1.5, 69, "blues"), reverb=0.14),
    "classical": Style(
        (58, 104), 0.0, ("major", "minor"), ((0, 5, 3, 4), (0, 4, 5, 2), (0, 3, 4, 0), (0, 1, 4, 0)),
        DrumPart("brushes", ()),
        BassPart(("cello",), ("1-------5-------", "1---------------", "1---3---5---3---")),
        ChordPart(("piano", "strings", "piano"), ("a.a.a.a.a.a.a.a.", "aaaaaaaaaaaaaaaa", "o.......o......."), 3, 62),
        LeadPart(("strings", "flute", "fiddle"), 1.2, 76, "major"), pad=("strings",), reverb=0.34),
    "country": Style(
        (98, 138), 0.12, ("major",), ((0, 3, 0, 4), (0, 0, 3, 4), (0, 4, 3, 0)),
        DrumPart("brushes", ((("kick", "x.......x......."), ("snare", "o.o.x.o.o.o.x.o.")),
                             (("kick", "x.......x......."), ("snare", "ooxoooxoooxoooxo"))), 0.7),
        BassPart(("upright_bass", "electric_bass"), ("1-......5-......", "1-......5-..3-w-")),
        ChordPart(("acoustic_guitar",), ("....x.......x...", "a.a.x.a.a.a.x.a.", "a.axa.axa.axa.ax"), 3, 60),
        LeadPart(("fiddle", "acoustic_guitar", "harmonica"), 2.0, 74, "major_pentatonic"), reverb=0.1),
    "disco": Style(
        (112, 128), 0.0, ("minor", "dorian"), ((0, 3, 6, 2), (0, 5, 3, 4), (0, 0, 3, 3)),
        DrumPart("machine", ((("kick", "x...x...x...x..."), ("clap", "....x.......x..."), ("open", "..x...x...x...x."),
                              ("hat", "x.o.x.o.x.o.x.o.")),
                             (("kick", "x...x...x...x..."), _BACKBEAT, ("open", "..x...x...x...x.")))),
        BassPart(("synth_bass", "electric_bass"), ("1.8.1.8.1.8.1.8.", "1.811.8.1.8.158.")),
        ChordPart(("muted_guitar", "clean_guitar", "electric_piano"), ("x.xxx.xx..xxx.x.", "..x...x...x..xx."), 4, 64),
        LeadPart(("brass", "strings", "synth_lead"), 1.1, 76, "dorian"), pad=("strings",), reverb=0.16),
    "hiphop": Style(
        (80, 98), 0.3, ("minor", "dorian"), ((0, 0, 5, 4), (0, 5, 0, 5), (0, 3, 0, 3)),
        DrumPart("machine", ((("kick", "x..x......x....."), _BACKBEAT, ("hat", "x.x.x.xxx.x.x.x.")),
                             (("kick", "x.....x..xx....."), ("clap", "....x.......x..."), ("hat", "x.o.x.o.x.o.xxo."))),
                 1.25),
        BassPart(("sub_bass",), ("1-----..1-..5-..", "1---......1-1-..", "1-..1---....3-..")),
        ChordPart(("electric_piano", "synth_pluck"), ("o.......o.......", "x.....x...x....."), 4, 60),
        LeadPart(("synth_pluck", "flute", "electric_piano"), 0.7, 72, "minor_pentatonic"), reverb=0.1),
    "jazz": Style(
        (112, 176), 0.62, ("major", "dorian"), ((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4)),
        DrumPart("brushes", ((("ride", "x...x.x.x...x.x."), ("hat", "....x.......x..."), ("kick", "o.......o.......")),
                             (("ride", "x...x.x.x...x.x."), ("hat", "....x.......x..."),
                              ("snare", "......o........o"))), 0.7),
        BassPart(("upright_bass",), ("1---3---5---w---", "1---5---8---w---", "1---w---5---7---")),
        ChordPart(("piano", "electric_piano"), ("..x.......x.....", "x.....x.........", "......x...x...x."), 5, 62),
        LeadPart(("saxophone", "brass", "flute"), 2.2, 72, "major"), reverb=0.18),
    "metal": Style(
        (132, 178), 0.0, ("phrygian", "minor"), ((0, 0, 1, 0), (0, 5, 6, 0), (0, 0, 5, 1)),
        DrumPart("heavy", ((("kick", "xxxxxxxxxxxxxxxx"), _BACKBEAT, ("crash", "x..............."),
                            ("ride", "x...x...x...x...")),
                           (("kick", "x.xxx.xxx.xxx.xx"), _BACKBEAT, ("open", "x...x...x...x..."))), 1.15),
        BassPart(("distorted_bass",), ("1.111.111.111.11", "1111111111111111")),
        ChordPart(("distorted_guitar",), ("x.xxx.xxx.xxx.xx", "o...x.xxo...x.xx", "xxxxxxxxxxxxxxxx"), 2, 45),
        LeadPart(("distorted_guitar", "overdriven_guitar"), 2.6, 74, "phrygian"), reverb=0.08),
    "pop": Style(
        (94, 124), 0.0, ("major",), ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4)),
        DrumPart("machine", ((("kick", "x.....x.x......."), ("clap", "....x.......x..."), _EIGHTHS),
                             (("kick", "x...x...x...x..."), _BACKBEAT, ("shaker", "xoxoxoxoxoxoxoxo")))),
        BassPart(("synth_bass", "electric_bass"), ("1-1-1-1-1-1-1-1-", "1-----1-1---5---")),
        ChordPart(("synth_pluck", "piano", "acoustic_guitar"),
                  ("a.a.a.a.a.a.a.a.", "x..x..x.x..x..x.", "o...o...o...o..."), 3, 64),
        LeadPart(("synth_lead", "piano", "synth_pluck"), 1.4, 76, "major_pentatonic"), pad=("synth_pad",), reverb=0.18),
    "reggae": Style(
        (66, 88), 0.2, ("major", "minor", "dorian"), ((0, 3, 0, 3), (0, 4, 3, 0), (0, 6, 3, 0)),
        DrumPart("acoustic", ((("kick", "........x......."), ("rim", "........x......."), ("hat", "x.o.x.o.x.o.x.oo")),
                              (("kick", "x.......x......."), ("rim", "....x.......x..."), ("hat", "..x...x...x...x."))),
                 0.9),
        BassPart(("sub_bass", "electric_bass"), ("1-..1-3-..5-..8.", "..1-1-..5-3-1-..", "1---..5-..3-1-..")),
        ChordPart(("muted_guitar", "organ", "clean_guitar"), ("....x.......x...", "....x.x.....x.x."), 3, 64),
        LeadPart(("organ", "brass", "flute"), 0.8, 70, "minor_pentatonic"), reverb=0.24),
    "rock": Style(
        (104, 142), 0.0, ("mixolydian", "minor", "major"), ((0, 6, 3, 0), (0, 3, 4, 3), (0, 5, 6, 0)),
        DrumPart("acoustic", ((("kick", "x.....x.x......."), _BACKBEAT, _EIGHTHS, ("crash", "x...............")),
                              (("kick", "x.x.....x.x....."), _BACKBEAT, ("open", "x...x...x...x..."))), 1.15),
        BassPart(("electric_bass",), ("1-1-1-1-1-1-1-1-", "1-1-..1-1-1-5-w-")),
        ChordPart(("overdriven_guitar",), ("x.x.x.x.x.x.x.x.", "o.....o.o.......", "x..xx.x.x..xx.x."), 2, 50),
        LeadPart(("overdriven_guitar", "organ"), 1.5, 72, "minor_pentatonic"), reverb=0.12),
}
