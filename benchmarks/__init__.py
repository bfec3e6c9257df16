"""Benchmarks: one command, one table each. `python -m benchmarks` runs the quick ones."""
