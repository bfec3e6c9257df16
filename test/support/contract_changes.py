# SPDX-License-Identifier: Apache-2.0
"""Changes of a robot contract as a dictionary, for tests of its reader."""


def put(*path_and_value):
    """A change that sets contract[path...] = value."""
    *path, key, value = path_and_value

    def change(contract):
        for step in path:
            contract = contract[step]
        contract[key] = value

    return change


def drop(*path):
    """A change that removes contract[path...]."""
    *path, key = path

    def change(contract):
        for step in path:
            contract = contract[step]
        del contract[key]

    return change
