"""Training of denoisers: data, losses, fits, evaluation and export."""
