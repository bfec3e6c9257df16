# SPDX-License-Identifier: Apache-2.0
"""A report counts what was counted during the recording, not since the nodes began."""

from array import array

import pytest

from groot_ros.cli.main import main
from groot_ros.evaluation.counters import CounterIncrease
from groot_ros.evaluation.run_log import read_run
from groot_ros.msg import ExecutorState, PolicyStatus, RejectionCount


@pytest.mark.parametrize(
    ("readings", "total"),
    [
        ([], {}),
        ([{"a": 630}], {}),
        ([{"a": 630}, {"a": 630}, {"a": 634}], {"a": 4}),
        ([{"a": 5}, {"a": 6, "b": 2}, {"a": 6, "b": 3}], {"a": 1, "b": 3}),
        # The node was configured again after 7.
        ([{"a": 5}, {"a": 7}, {"a": 0}, {"a": 3}], {"a": 5}),
    ],
)
def test_an_increase_begins_at_the_first_reading_and_survives_a_restart(readings, total):
    counter = CounterIncrease()
    for reading in readings:
        counter.read(reading)
    assert counter.total == total


def state(accepted: int, limited: int, **rejections: int) -> ExecutorState:
    return ExecutorState(
        joint_names=["pan"],
        # rosbags rejects the padding that rclpy adds to empty sequences of doubles.
        splice_discontinuity=array("d", [0.0]),
        limit_deviation=array("d", [0.0]),
        limited_chunks=array("Q", [limited]),
        accepted=accepted,
        underruns=2,
        rejections=[RejectionCount(code=c, count=n) for c, n in rejections.items()],
    )


def status(**rejections: int) -> PolicyStatus:
    return PolicyStatus(rejections=[RejectionCount(code=c, count=n) for c, n in rejections.items()])


def test_the_table_has_the_counts_of_the_recording(bag_of, capsys):
    sent = [
        ("/executor_state", 1.0, state(630, 575, too_old=4)),
        ("/executor_state", 2.0, state(637, 577, too_old=4, on_hold=3)),
        ("/policy_status", 1.0, status(stale_image=200)),
        ("/policy_status", 2.0, status(stale_image=201)),
    ]
    bag = bag_of(sent)
    assert main(["report", str(bag)]) == 0
    rows = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    found = {name.strip(): value.strip() for name, value in rows.items()}
    assert found["chunks accepted"] == "7"
    assert found["chunks rejected"] == "on_hold x3"
    assert found["observations rejected"] == "stale_image x1"
    assert found["underruns"] == "0"
    assert read_run(bag).counts.limited.total == {"pan": 2}


def test_an_idle_recording_has_no_nan(bag_of, capsys):
    assert main(["report", str(bag_of([("/policy_status", 1.0, status())]))]) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "chunk age p50/p95/max" in printed
    lines = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert lines["chunk age p50/p95/max"][-1] == "none"
    assert lines["image to chunk received"][-2:] == ["none", "none"]
    assert lines["chunks accepted"][-1] == "-"
