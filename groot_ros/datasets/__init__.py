# SPDX-License-Identifier: Apache-2.0
"""LeRobot data sets in the form that GR00T trains on: written, read, checked, made from bags."""


class DatasetError(ValueError):
    """A data set cannot be written or read; the message is one line: what, where, how to fix it."""
