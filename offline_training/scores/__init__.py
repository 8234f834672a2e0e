"""Measures of decoding as pure functions of predictions, targets, clips, genres and blocks: no files, no fits."""
