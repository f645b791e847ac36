"""The expectation step: what every image says about its pose, the map, the noise and the scales."""
