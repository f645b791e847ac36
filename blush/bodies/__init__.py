"""Bodies that move, after a refinement: what they do beyond the uncertainty of their poses, and maps along it."""
