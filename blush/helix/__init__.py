"""Helices and filaments: what segments of one filament say together, and what their symmetry does to maps."""
