"""The page about a run, and following a run: both read its folder and need no torch."""
