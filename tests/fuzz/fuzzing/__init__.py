"""Damaged and hostile inputs for every reader of the program, drawn from a seed, each under watch."""
