"""Music: what can be played (catalogue), what should be played (selection), how it is made (synth)."""
