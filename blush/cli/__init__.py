"""The commands of `blush`, one module each; heavy imports wait until a command runs."""
