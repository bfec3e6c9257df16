# SPDX-License-Identifier: Apache-2.0
"""Reports show every encoding in its colours and every joint in its unit."""

import io
from array import array

import numpy as np
import pytest
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image, JointState

from groot_ros.cli.main import main
from groot_ros.evaluation import pictures, report
from groot_ros.evaluation.camera_frames import FramesAt, read_frames
from groot_ros.evaluation.run_log import read_run
from groot_ros.msg import ActionChunk, ActionGroup, ExecutorState, Instruction

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
    frames = FramesAt(np.zeros(1))
    read_frames(bag, [frames])
    (frame,) = frames.shown["/front"]
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - colour).max() <= 2


def test_a_frame_is_the_first_at_or_after_its_time_and_damaged_ones_are_skipped(bag_of) -> None:
    levels = [(t, image("mono8", bytes([10 * t]))) for t in range(6)]
    levels[3][1].data = array("B", b"\0")
    bag = bag_of([("/front", float(t), message) for t, message in levels])
    frames = FramesAt(np.array([0.5, 2.5, 4.5]))
    rejected = read_frames(bag, [frames])
    assert [int(f[0, 0, 0]) for f in frames.shown["/front"]] == [10, 40, 50]
    assert rejected["/front"].startswith("data_short: ")


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
    out = bag.with_name("bag_report")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["cameras.png", "joints.png", "report.html", "run.webp", "table.txt"]
    told = capsys.readouterr()
    # Not a terminal: one line for each pass over the bag, without a bar that is drawn again.
    assert told.err.startswith("reading the bag: 3 messages\nreading the images: 9 messages\n")
    assert "\r" not in told.err
    assert "/depth: an image cannot be shown: unknown_encoding: '16UC1'" in told.err
    assert told.out.splitlines()[-1] == f"results in {out}/: " + ", ".join(report.FILES)
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


def test_files_of_an_earlier_report_are_not_listed(bag_of, tmp_path, capsys) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "run.webp").write_text("of another run")
    bag = bag_of([("/joint_states", 1.0, joint_state(lift=0.1))])
    assert main(["report", str(bag), "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(
        f"results in {out}/: report.html, joints.png, table.txt\n"
    )
    assert not (out / "run.webp").exists()


def test_an_interrupted_report_leaves_the_earlier_one_as_it_was(
    bag_of, tmp_path, monkeypatch, capsys
) -> None:
    out = tmp_path / "report"
    bag = bag_of([("/front", t / 10, image("mono8", b"\x4d")) for t in range(9)])
    assert main(["report", str(bag), "--out", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def interrupt(_frames, _times, _log, path) -> None:
        path.write_bytes(b"half of a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "contact_sheet", interrupt)
    assert main(["report", str(bag), "--out", str(out)]) == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_recording_that_does_not_exist_is_said_to_be_missing(tmp_path, capsys) -> None:
    assert main(["report", str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'} does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_joint_states_for_views_are_not_taken_for_measurements(bag_of) -> None:
    sent = [
        (topic, 1.0, joint_state(lift=position))
        for topic, position in (
            ("/left/joint_states", 0.1),
            ("/left/committed_joint_states", 0.5),
            ("/left/proposed_joint_states", 0.9),
        )
    ]
    assert read_run(bag_of(sent)).joints["lift"][:, 1].tolist() == [0.1]


def test_instruction_changes_and_limits_are_drawn_in_joints_png(bag_of, monkeypatch) -> None:
    told = [(1.0, "pick"), (2.0, "pick"), (3.0, ""), (4.0, "place")]
    sent = [("/active_instruction", t, Instruction(text=text)) for t, text in told]
    sent += [("/joint_states", t, joint_state(lift=t / 10)) for t in (0.0, 5.0)]
    bag = bag_of(sent)
    log = read_run(bag)
    assert log.instructions == [(1.0, "pick"), (3.0, ""), (4.0, "place")]
    assert [log.instruction_at(t) for t in (0.5, 2.5, 3.5, 9.0)] == ["", "pick", "", "place"]
    drawn: dict[str, list] = {"axvline": [], "annotate": [], "axhline": [], "text": []}

    def spy(name):
        original = getattr(pictures.Axes, name)

        def record(axis, value, *others, **options):
            drawn[name].append(others[1] if name == "text" else value)
            return original(axis, value, *others, **options)

        monkeypatch.setattr(pictures.Axes, name, record)

    for name in drawn:
        spy(name)
    pictures.joint_curves(log, bag / "joints.png", {"lift": (-3.0, 0.55)})
    assert drawn["annotate"] == ["pick", "no instruction", "place"]
    assert drawn["axvline"] == [1.0, 3.0, 4.0]
    # The motion ends at 0.5 rad; the other limit is far from it, but both are named.
    assert drawn["axhline"] == [0.55]
    assert drawn["text"] == ["limits\n-3.00\n0.55"]


def test_a_frame_gets_its_caption_below_and_is_not_covered() -> None:
    frame = np.full((40, 120, 3), 200, dtype=np.uint8)
    shown = np.asarray(pictures.captioned(frame, ("1.0 s  pick \u2603", "running")))
    assert shown.shape == (40 + 2 * 13, 120, 3)
    assert (shown[:40] == frame).all()
    assert (shown[40:53] > 128).any()
    assert (shown[53:] > 128).any()


def test_the_animation_shows_instruction_and_status(bag_of, tmp_path, monkeypatch) -> None:
    captions = []
    monkeypatch.setattr(report, "animation", lambda _frames, lines, *_: captions.extend(lines))
    state = ExecutorState(
        joint_names=["pan"], status=ExecutorState.HOLDING, splice_discontinuity=[0.0]
    )
    state.limit_deviation = [0.0]
    sent = [("/front", t / 10, image("rgb8", bytes(ORANGE))) for t in range(31)]
    sent += [("/active_instruction", 1.0, Instruction(text="pick"))]
    sent += [("/executor_state", 2.0, state)]
    report.write_report(bag_of(sent), tmp_path / "report")
    assert captions[0] == ("0.0 s  no instruction", "")
    assert captions[12] == ("1.5 s  pick", "")
    assert captions[20] == ("2.5 s  pick", "holding")
