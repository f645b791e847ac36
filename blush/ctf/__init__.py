"""Contrast transfer, aberrations and detector response."""
