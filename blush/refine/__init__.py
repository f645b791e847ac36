"""State and control of a refinement: what the next iteration does, and RELION's tables of it."""
