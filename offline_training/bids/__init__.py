"""Recorded sessions as a BIDS data set: raw runs, events, and what was fed back as derivatives."""
