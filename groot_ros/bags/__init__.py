"""Bags in rosbag2's format, written and read without rosbag2 (with the package `rosbags`)."""


class BagError(ValueError):
    """A bag cannot be written or read; the message is one line: what, where, and how to fix it."""
