"""Reads golden sets and compares them with this package, one file for each format."""
