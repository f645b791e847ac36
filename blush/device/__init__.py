"""Is a GPU right, and how fast is it? A pretend one that needs none, and the check that a user runs on a real one."""
