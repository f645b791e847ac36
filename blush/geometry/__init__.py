"""Orientations: rotations, HEALPix directions, point groups and the grids searched."""
