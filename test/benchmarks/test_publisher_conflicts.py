# SPDX-License-Identifier: Apache-2.0
"""The benchmark of competing publishers in a short form: all are reported, no restart is."""

import pytest

from benchmarks import publisher_conflicts

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_every_competing_publisher_is_reported_and_no_restart(
    ros_domain: int, capsys: pytest.CaptureFixture
) -> None:
    publisher_conflicts.main(["--runs", "3"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("joint_states", "front/image_raw"))]
    assert len(rows) == 4
    for row in rows:
        assert "3 of 3" in row
        assert "0 of 3" in row
