"""The steps of a refinement and of a training, from files to files; what the rules and commands call."""
