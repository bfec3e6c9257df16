# SPDX-License-Identifier: Apache-2.0
"""Tables are aligned by the widest cell of each column."""

from groot_ros.evaluation.table import format_table


def test_numbers_are_aligned_to_the_right_and_names_to_the_left() -> None:
    text = format_table(["stage", "ms"], [["head", "1.5"], ["backbone", "12.0"]])
    assert text.splitlines() == [
        "stage       ms",
        "--------  ----",
        "head       1.5",
        "backbone  12.0",
    ]
