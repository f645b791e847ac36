"""Files: STAR, MRC, particles, JSON and npz."""
