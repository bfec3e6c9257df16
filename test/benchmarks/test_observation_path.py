# SPDX-License-Identifier: Apache-2.0
"""The observation path benchmark in a short form: it runs, and counts what was sent."""

import pytest

from benchmarks import observation_path

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def cells(text: str, row: str) -> list[str]:
    """Return the cells of the table's row with this name."""
    line = next(line for line in text.splitlines() if line.startswith(row))
    return line.removeprefix(row).split()


def test_the_observation_path_receives_images_and_chunks(capsys: pytest.CaptureFixture) -> None:
    observation_path.main(["--seconds", "6"])
    images, lost, _, _, chunks, _, _ = cells(capsys.readouterr().out, "config/fastdds.xml")
    assert int(images) > 60
    assert int(lost) < int(images)
    assert int(chunks) >= 5
