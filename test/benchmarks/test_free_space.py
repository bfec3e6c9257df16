"""A benchmark that has no room is one line, not a machine that swaps."""

import pytest

from benchmarks.free_space import require_free


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ({"memory": 1e18}, r"load needs 1000000000 GB of memory, [\d.]+ GB are free"),
        ({"memory": 0.0, "disk": 1e18}, r"load needs 1000000000 GB of disk, [\d.]+ GB are free"),
    ],
)
def test_what_is_missing_is_named_with_what_is_free(tmp_path, needs, told) -> None:
    with pytest.raises(SystemExit, match=told):
        require_free("load", at=tmp_path, **needs)


def test_a_machine_with_room_goes_on(tmp_path) -> None:
    require_free("load", memory=1.0, disk=1.0, at=tmp_path)
