"""Operators that the time goes into, each as readable torch, compiled for the CPU, and in Triton for a GPU."""
