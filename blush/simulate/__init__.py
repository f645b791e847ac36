"""Particle images with known truth, from atomic models."""
