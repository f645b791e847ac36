"""Is a GPU right, and how fast is it? The check that a user runs on one; pretended ones are in tests/device."""
