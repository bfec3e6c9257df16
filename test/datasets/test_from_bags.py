# SPDX-License-Identifier: Apache-2.0
"""Rows of a bag: grid, images, states, commands; what is cut, left out and rejected."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.input_bags import START, joint_state, message
from support.robot_bags import FPS, JOINTS, SO101, RobotRun, ns, wave

from groot_ros.bags import BagError
from groot_ros.core.share import robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.from_bags import ConversionSettings, convert_bag, convert_bags
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.rows import FROM_STATE, RowSettings

ROBOT = robot_path("so101")
ROWS = RowSettings(fps=0)


def settings(leader: str | None = None, **rows) -> ConversionSettings:
    return ConversionSettings(replace(ROWS, **rows), ROBOT, leader)


def convert(bag: Path, out: Path, **rows) -> Dataset:
    convert_bags([bag], out, settings(**rows), jobs=1)
    return Dataset(out)


def to_rad(dataset: Dataset, kind: str, number: int = 0) -> np.ndarray:
    """Return [N, 6] state or action of an episode in the order of JOINTS, rad."""
    to_si = SO101.state_to_si if kind == "state" else SO101.action_to_si
    episode = dataset.episodes[number]
    groups = SO101.state_groups if kind == "state" else SO101.action_groups
    return np.concatenate([to_si(g, episode.group(kind, g)) for g in groups], axis=1)


def test_each_row_equals_the_interpolation_of_the_bag_at_its_time(tmp_path: Path) -> None:
    run = RobotRun(jitter=0.001)
    dataset = convert(run.write(tmp_path / "bag"), tmp_path / "data", trim_idle=False)
    episode = dataset.episodes[0]
    stamps = run.joint_stamps()
    # The frames have the times of the grid here, so t_k is the time of the images as well.
    times = episode.column("stamp_ns")
    assert (times - START).tolist() == [round(k * 1e9 / FPS) for k in range(len(times))]
    expected = np.interp(times - START, stamps - START, [wave((s - START) / 1e9) for s in stamps])
    offsets = 0.01 * np.arange(len(JOINTS))
    np.testing.assert_allclose(to_rad(dataset, "state"), expected[:, None] + offsets, atol=1e-6)
    assert episode.length == len(times) >= FPS * run.seconds - 2
    np.testing.assert_array_equal(
        episode.column("timestamp"), (np.arange(len(times)) / FPS).astype(np.float32)
    )
    assert dataset.fps == FPS


def test_the_action_of_a_row_is_the_command_in_force_not_the_state(tmp_path: Path) -> None:
    run = RobotRun(command=lambda t: 0.5 * t)
    dataset = convert(run.write(tmp_path / "bag"), tmp_path / "data", trim_idle=False)
    t = (dataset.episodes[0].column("stamp_ns") - START) / 1e9
    expected = 0.5 * t[:, None] + 0.01 * np.arange(len(JOINTS))
    np.testing.assert_allclose(to_rad(dataset, "action"), expected, atol=1e-6)


def test_actions_from_the_state_are_those_of_the_next_row(tmp_path: Path) -> None:
    run = RobotRun(command=None)
    with pytest.raises(DatasetError, match="could be converted"):
        convert(run.write(tmp_path / "bag"), tmp_path / "none")
    dataset = convert(tmp_path / "bag", tmp_path / "data", action=FROM_STATE, trim_idle=False)
    np.testing.assert_allclose(
        to_rad(dataset, "action")[:-1], to_rad(dataset, "state")[1:], atol=1e-6
    )


def test_the_joints_of_a_leader_are_the_commands(tmp_path: Path) -> None:
    messages = RobotRun(command=lambda t: -1.0).messages()
    for number in range(300):
        stamp = ns(number / 100)
        leader = joint_state(stamp, JOINTS, [0.2 * number / 100] * len(JOINTS))
        messages.add("/leader/joint_states", stamp, leader)
    messages.write(tmp_path / "bag")
    convert_bags([tmp_path / "bag"], tmp_path / "data", settings("leader/joint_states"), jobs=1)
    dataset = Dataset(tmp_path / "data")
    t = (dataset.episodes[0].column("stamp_ns") - START) / 1e9
    np.testing.assert_allclose(to_rad(dataset, "action")[:, 0], 0.2 * t, atol=1e-6)


def test_the_state_belongs_to_the_image_of_the_row(tmp_path: Path) -> None:
    # The image of a row is up to a period older than the row: as live, the state is as old.
    run = RobotRun(rate=28.0, position=lambda t: 0.2 * t)
    dataset = convert(run.write(tmp_path / "bag"), tmp_path / "data", max_duplicates=0.2)
    stamps = np.array([ns(t) for t in run.image_times()])
    times = dataset.episodes[0].column("stamp_ns")
    shown = stamps[np.searchsorted(stamps, times, side="right") - 1]
    np.testing.assert_allclose(
        to_rad(dataset, "state")[:, 0], 0.2 * (shown - START) / 1e9, atol=1e-6
    )


def test_a_gap_in_the_images_splits_the_episode_and_is_reported_with_its_place(
    tmp_path: Path,
) -> None:
    bag = RobotRun(seconds=4.0, lost=lambda t: 1.5 <= t < 2.5).write(tmp_path / "bag")
    converted = convert_bag(bag, settings(), tmp_path)
    assert [e.length for e in converted.episodes] == [45, 45]
    (gap,) = [note for note in converted.notes if "max_image_age" in note]
    assert "1.500 to 2.467 s: left out, no image of camera" in gap
    with pytest.raises(DatasetError, match=r"1\.500 to 2\.467 s: no image of camera .* for more"):
        convert_bag(bag, settings(split_at_gaps=False), tmp_path)


def test_a_camera_slower_than_the_rows_is_rejected_with_the_right_rate(tmp_path: Path) -> None:
    bag = RobotRun(rate=15.0).write(tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"5\d% of its rows repeat the image.*use --fps 15"):
        convert_bag(bag, settings(), tmp_path)
    assert len(convert_bag(bag, settings(fps=15), tmp_path).episodes) == 1


def test_jitter_of_a_camera_does_not_repeat_images(tmp_path: Path) -> None:
    messages = RobotRun().messages()
    random = np.random.default_rng(1)
    for _, topic, content in messages.sent:
        if topic.endswith("image_raw"):
            stamp = content.header.stamp
            moved = stamp.nanosec + random.integers(-2_000_000, 2_000_000)
            stamp.nanosec = int(np.clip(moved, 0, 1e9 - 1))
    messages.write(tmp_path / "bag")
    dataset = convert(tmp_path / "bag", tmp_path / "data", max_duplicates=0.0)
    assert dataset.episodes[0].length > 80


def test_an_episode_has_one_instruction(tmp_path: Path) -> None:
    texts = ((0.0, "touch the red cube"), (1.5, "touch the blue cube"), (3.0, ""))
    dataset = convert(
        RobotRun(seconds=4.0, instructions=texts).write(tmp_path / "bag"), tmp_path / "data"
    )
    assert [e.tasks for e in dataset.episodes] == [
        ("touch the red cube",),
        ("touch the blue cube",),
    ]
    assert [e.length for e in dataset.episodes] == [45, 45]
    assert set(dataset.episodes[1].instructions()) == {"touch the blue cube"}


def test_rest_is_left_out_at_the_start_and_kept_for_a_horizon_at_the_end(tmp_path: Path) -> None:
    def move(t: float) -> float:
        return 0.5 * min(max(t - 1.0, 0.0), 1.0)

    bag = RobotRun(seconds=4.0, position=move, command=move).write(tmp_path / "bag")
    dataset = convert(bag, tmp_path / "data", horizon=20)
    action = to_rad(dataset, "action")[:, 0]
    assert 1 <= (action == action[0]).sum() <= 6
    assert 20 <= (np.abs(action - action[-1]) < 1e-6).sum() <= 26
    kept = convert(bag, tmp_path / "kept", trim_idle=False)
    assert kept.episodes[0].length == 120


def test_an_arm_that_does_not_move_gives_no_episode(tmp_path: Path) -> None:
    bag = RobotRun(position=lambda _: 0.1, command=lambda _: 0.1).write(tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"no episode is left: .*nothing moves .*--keep-idle"):
        convert_bag(bag, settings(), tmp_path)


def test_one_bad_bag_costs_no_other_and_is_reported(tmp_path: Path) -> None:
    good = RobotRun(seconds=1.5).write(tmp_path / "good")
    bad = RobotRun(seconds=0.2).write(tmp_path / "bad")
    conversion = convert_bags([bad, good], tmp_path / "data", settings(), jobs=2)
    assert [failure.name for failure in conversion.failed] == [str(bad)]
    assert "fewer than the horizon of 16" in conversion.failed[0].error
    assert len(Dataset(tmp_path / "data").episodes) == 1


def test_a_bag_with_other_images_is_not_mixed_into_the_data_set(tmp_path: Path) -> None:
    first = RobotRun(seconds=1.5).write(tmp_path / "first")
    other = RobotRun(seconds=1.5, size=(64, 64)).write(tmp_path / "other")
    with pytest.raises(DatasetError, match=r"other does not fit the first one: .*shape"):
        convert_bags([first, other], tmp_path / "data", settings(), jobs=1)
    assert not list(tmp_path.glob("*data*"))


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DatasetError, match="already exists: choose another directory"):
        convert_bags([tmp_path / "bag"], tmp_path / "data", settings(), jobs=1)


def test_images_of_an_odd_size_are_rejected(tmp_path: Path) -> None:
    bag = RobotRun(seconds=1.0, size=(47, 64)).write(tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"64 x 47 pixels; H.264 .* needs an even width"):
        convert_bag(bag, settings(), tmp_path)


def test_a_joint_without_commands_is_named_with_what_to_do(tmp_path: Path) -> None:
    bag = RobotRun(command=None).write(tmp_path / "bag")
    with pytest.raises(
        DatasetError, match=r"'shoulder_pan' has no commands: record .*--leader, or"
    ):
        convert_bag(bag, settings(), tmp_path)


def test_a_rate_that_is_no_integer_must_be_stated(tmp_path: Path) -> None:
    text = ROBOT.read_text(encoding="utf-8").replace("action_dt: 0.0333333333", "action_dt: 0.06")
    robot = tmp_path / "robot.yaml"
    robot.write_text(text, encoding="utf-8")
    bag = RobotRun(seconds=1.0).write(tmp_path / "bag")
    with pytest.raises(
        DatasetError, match=r"0\.06 s, 16\.67 Hz, which is no integer rate: .*--fps"
    ):
        convert_bag(bag, ConversionSettings(ROWS, robot), tmp_path)


def test_repeated_stamps_are_left_out_and_reported(tmp_path: Path) -> None:
    messages = RobotRun().messages()
    twice = [own for own in messages.sent if own[1] == "/front/image_raw"][10]
    messages.sent.append((twice[0] + 1, *twice[1:]))
    messages.write(tmp_path / "bag")
    converted = convert_bag(tmp_path / "bag", settings(), tmp_path)
    assert any("camera 'front': left out 1 samples" in note for note in converted.notes)
    assert len(converted.episodes) == 1


def test_a_clock_that_was_reset_is_an_error(tmp_path: Path) -> None:
    messages = RobotRun().messages()
    positions = [0.0] * len(JOINTS)
    messages.add("/joint_states", ns(2.0), joint_state(ns(0.1), JOINTS, positions))
    messages.write(tmp_path / "bag")
    with pytest.raises(BagError, match="its clock was reset"):
        convert_bag(tmp_path / "bag", settings(), tmp_path)


def test_a_bag_of_another_robot_is_an_error(tmp_path: Path) -> None:
    messages = RobotRun(seconds=1.0).messages()
    for _, topic, content in messages.sent:
        if topic == "/joint_states":
            content.name = [f"other_{name}" for name in content.name]
    messages.write(tmp_path / "bag")
    with pytest.raises(BagError, match="is it a bag of another robot"):
        convert_bag(tmp_path / "bag", settings(), tmp_path)


def test_a_missing_topic_is_an_error(tmp_path: Path) -> None:
    messages = RobotRun(seconds=1.0).messages()
    messages.sent = [own for own in messages.sent if own[1] != "/wrist/image_raw"]
    messages.write(tmp_path / "bag")
    with pytest.raises(BagError, match="wrist/image_raw"):
        convert_bag(tmp_path / "bag", settings(), tmp_path)


def test_a_topic_of_another_type_is_an_error(tmp_path: Path) -> None:
    messages = RobotRun(seconds=1.0).messages()
    messages.sent = [own for own in messages.sent if own[1] != "/joint_states"]
    messages.add("/joint_states", ns(0.0), message("std_msgs/msg/String", data="x"))
    messages.write(tmp_path / "bag")
    with pytest.raises(BagError, match="has std_msgs/msg/String, expected sensor_msgs"):
        convert_bag(tmp_path / "bag", settings(), tmp_path)


def test_a_truncated_bag_is_an_error_that_names_the_repair(tmp_path: Path) -> None:
    bag = RobotRun(seconds=1.0).write(tmp_path / "bag")
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="groot-ros bag recover"):
        convert_bag(bag, settings(), tmp_path)


def test_an_interrupted_conversion_leaves_no_data_set(tmp_path: Path, monkeypatch) -> None:
    bag = RobotRun(seconds=1.5).write(tmp_path / "bag")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("groot_ros.datasets.writer_v21.write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert_bags([bag], tmp_path / "data", settings(), jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
