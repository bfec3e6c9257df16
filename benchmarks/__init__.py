"""Benchmarks, each of which prints its tables. `python -m benchmarks` runs the quick ones."""
