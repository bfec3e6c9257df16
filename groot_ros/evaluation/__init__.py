"""Evaluation of recorded runs: metrics, tables and pictures."""
