# SPDX-License-Identifier: Apache-2.0
"""Benchmarks, each of which prints its tables. `python -m benchmarks` runs the quick ones."""
