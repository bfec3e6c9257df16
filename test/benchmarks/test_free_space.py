# SPDX-License-Identifier: Apache-2.0
"""A benchmark without enough memory or disk ends with one line before it starts."""

import pytest

from benchmarks.free_space import require_free


@pytest.mark.parametrize(
    ("needs", "problem"),
    [
        ({"memory": 1e18}, r"load needs 1000000000 GB of memory, [\d.]+ GB are free"),
        ({"memory": 0.0, "disk": 1e18}, r"load needs 1000000000 GB of disk, [\d.]+ GB are free"),
    ],
)
def test_missing_space_is_an_error_with_the_free_space(tmp_path, needs, problem) -> None:
    with pytest.raises(SystemExit, match=problem):
        require_free("load", at=tmp_path, **needs)


def test_enough_space_is_no_error(tmp_path) -> None:
    require_free("load", memory=1.0, disk=1.0, at=tmp_path)
