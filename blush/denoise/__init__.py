"""Denoising networks: their shape, weights, and how they are applied to a whole map. Knows nothing of particles."""
