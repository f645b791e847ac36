"""Measures of what was refined: resolution, sharpened and local-resolution maps, comparison with the truth."""
