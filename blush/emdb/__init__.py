"""Half-maps of published structures: search, download and the manifest that repeats it."""
