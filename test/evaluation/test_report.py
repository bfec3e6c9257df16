# SPDX-License-Identifier: Apache-2.0
"""Reports show every encoding in its colours and every joint in its unit."""

import io
from array import array

import numpy as np
import pytest
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.cli.main import main
from groot_ros.evaluation import pictures
from groot_ros.evaluation.run_log import read_frames, read_run
from groot_ros.msg import ActionChunk, ActionGroup

ORANGE = (250, 120, 10)
GREY = (77, 77, 77)


def image(encoding: str, pixel: bytes, padding: int = 0, width: int = 6) -> Image:
    row = pixel * (width // 2 if encoding == "yuv422" else width)
    data = array("B", (row + bytes(padding)) * 4)
    return Image(height=4, width=width, encoding=encoding, step=len(row) + padding, data=data)


def compressed(form: str) -> CompressedImage:
    file = io.BytesIO()
    Picture.new("RGB", (16, 8), ORANGE).save(file, form, quality=95)
    return CompressedImage(format=form.lower(), data=array("B", file.getvalue()))


def chunk(joints: dict[str, str]) -> ActionChunk:
    group = ActionGroup(name="arm", names=list(joints), units=list(joints.values()))
    group.values = [0.0] * len(joints)
    return ActionChunk(dt=0.1, horizon=1, groups=[group], instruction="up")


def joint_state(**positions: float) -> JointState:
    # rosbags rejects the padding that rclpy adds to empty sequences of doubles.
    values = list(positions.values())
    return JointState(name=list(positions), position=values, velocity=values, effort=values)


@pytest.mark.parametrize(
    ("message", "colour"),
    [
        (image("rgb8", bytes(ORANGE)), ORANGE),
        (image("rgb8", bytes(ORANGE), padding=5), ORANGE),
        (image("bgr8", bytes(ORANGE[::-1])), ORANGE),
        (image("rgba8", bytes((*ORANGE, 255))), ORANGE),
        (image("mono8", b"\x4d"), GREY),
        (image("yuv422", bytes((128, 82, 128, 82))), GREY),
        (compressed("PNG"), ORANGE),
        (compressed("JPEG"), ORANGE),
    ],
    ids=lambda each: getattr(each, "encoding", getattr(each, "format", "")),
)
def test_a_camera_is_shown_in_its_colours(bag_of, message, colour) -> None:
    bag = bag_of([("/front", 0.0, message)])
    (frame,) = read_frames(bag, np.zeros(1)).shown["/front"]
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - colour).max() <= 2


def test_a_frame_is_the_first_at_or_after_its_time_and_damaged_ones_are_skipped(bag_of) -> None:
    levels = [(t, image("mono8", bytes([10 * t]))) for t in range(6)]
    levels[3][1].data = array("B", b"\0")
    bag = bag_of([("/front", float(t), message) for t, message in levels])
    frames = read_frames(bag, np.array([0.5, 2.5, 4.5]))
    assert [int(f[0, 0, 0]) for f in frames.shown["/front"]] == [10, 40, 50]
    assert frames.rejected["/front"].startswith("data_short: ")


def test_a_bag_with_cameras_of_several_encodings_is_reported(bag_of, capsys) -> None:
    def at(seconds: float):
        return [
            ("/front", seconds, image("bgr8", bytes(ORANGE[::-1]))),
            ("/wrist", seconds, compressed("JPEG")),
            ("/depth", seconds, image("16UC1", b"\1\2")),
            ("/joint_states", seconds, joint_state(lift=seconds / 10)),
        ]

    bag = bag_of([*at(0.0), *at(1.0), *at(2.0)])
    assert main(["report", str(bag)]) == 0
    report = bag.with_name("bag_report")
    names = sorted(path.name for path in report.iterdir())
    assert names == ["cameras.png", "joints.png", "run.webp", "table.txt"]
    told = capsys.readouterr()
    assert "/depth: an image cannot be shown: unknown_encoding: '16UC1'" in told.err
    assert read_run(bag).images == 9


def test_a_joint_is_shown_in_the_unit_of_the_chunks(bag_of, capsys, monkeypatch) -> None:
    joints = joint_state(lift=0.1, pan=0.2, wheel=0.3)
    sent = [("/action_chunk", 1.0, chunk({"lift": "m", "pan": "rad"})), ("/joints", 1.0, joints)]
    bag = bag_of(sent)
    assert read_run(bag).units == {"lift": "m", "pan": "rad"}
    labels = []
    monkeypatch.setattr(
        pictures.plt.Axes, "set_ylabel", lambda _axis, text, **_: labels.append(text)
    )
    assert main(["report", str(bag)]) == 0
    table = capsys.readouterr().out.split("chunks limited")[1]
    assert [line.split() for line in table.splitlines()[2:5]] == [
        ["lift", "0.00", "m", "-"],
        ["pan", "0.00", "rad", "-"],
        ["wheel", "0.00", "rad", "-"],
    ]
    assert labels == ["lift\n[m]", "pan\n[rad]", "wheel\n[rad]"]
