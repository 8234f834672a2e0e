"""Encoding models: how well music predicts each voxel, tested by shuffling the music."""
