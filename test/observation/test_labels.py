# SPDX-License-Identifier: Apache-2.0
"""Labels belong to the image with the same stamp; without them there is no observation."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.received import add_labels_message
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract
from groot_ros.robot.inputs import Labels

MS = 1_000_000
NOW = 1_000_000 * MS
CONTRACT = load_contract(Path(__file__).parents[2] / "config" / "robots" / "so101.yaml")
SPEC = ObservationSpec(("front", "wrist"), ("single_arm",), labels=True)
SIZE = (16, 32)


def contract(encoding: str = "mono16", **changes: object):
    cameras = {
        view: replace(camera, labels=Labels(f"{view}/labels", encoding), **changes)
        for view, camera in CONTRACT.cameras.items()
    }
    return replace(CONTRACT, cameras=cameras)


def filled(front=(), wrist=(), images=(-60, -20), **changes: object) -> ObservationBuffer:
    """A buffer with images and labels at these times in ms before NOW.

    Pixels and labels are 100 + the time, modulo 256.
    """
    buffer = ObservationBuffer(contract(**changes), SPEC, SyncTolerances())
    latency = buffer.cameras["front"].latency_ns
    for ms in (-190, -100, -1):
        stamp = NOW + ms * MS
        buffer.add_joint_state("joint_states", stamp, NOW, CONTRACT.joint_names, [0.0] * 6)
    for view, own in (("front", front), ("wrist", wrist)):
        for ms in images:
            pixels = np.full((*SIZE, 3), (100 + ms) % 256, np.uint8)
            buffer.add_frame(view, NOW + ms * MS + latency, NOW, lambda p=pixels: p)
        for ms in own:
            labels = np.full(SIZE, (100 + ms) % 256, np.uint16)
            buffer.add_labels(view, NOW + ms * MS + latency, NOW, lambda size, a=labels: a)
    return buffer


def rejection(buffer: ObservationBuffer) -> Rejected:
    with pytest.raises(Rejected) as caught:
        buffer.snapshot(NOW, "go")
    return caught.value


@pytest.mark.parametrize("latency_ms", [0, 7])
def test_an_image_is_used_only_with_labels_of_the_same_stamp(latency_ms: int) -> None:
    # The newest images have no labels yet, or only one of them has.
    buffer = filled((-60, -20), (-60,), latency_ns=latency_ms * MS)
    observation = buffer.snapshot(NOW, "go")
    assert observation.stamp_ns == NOW - 60 * MS
    for view in ("front", "wrist"):
        assert (observation.images[view][0, 0, 0, 0], observation.labels[view][0, 0, 0]) == (40, 40)
        assert observation.labels[view].shape == (1, *SIZE)


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_the_labels_of_an_observation_are_always_those_of_its_images(
    images: set[int], labels: set[int]
) -> None:
    own = [-5 * n for n in sorted(labels, reverse=True)]
    frames = [-5 * n for n in sorted(images, reverse=True)]
    buffer = filled(own, own, frames)
    common = images & labels
    if not common or 5 * min(images) > 300:
        assert rejection(buffer).reason in ("missing_image", "missing_labels")
        return
    observation = buffer.snapshot(NOW, "go")
    assert observation.stamp_ns == NOW - 5 * min(common) * MS
    assert (observation.images["front"][..., 0] == observation.labels["front"]).all()


def test_what_is_wrong_with_the_labels_is_named() -> None:
    nothing = rejection(filled((-20,), ()))
    assert (nothing.reason, nothing.source) == ("missing_labels", "wrist/labels")
    assert "nothing received from the labels of camera 'wrist' on 'wrist/labels'" in str(nothing)
    others = rejection(filled((-21,), (-21,)))
    assert "no image of camera 'front' has the stamp of labels" in others.detail
    old = rejection(filled((-350,), (-20,), images=(-350, -20)))
    assert (old.reason, "0.350 s old" in old.detail) == ("stale_labels", True)


def test_labels_of_two_publishers_are_dropped() -> None:
    buffer = filled((-20,), (-20,))
    buffer.discard("front/labels", "competing_publishers", "two of them")
    assert rejection(buffer).reason == "competing_publishers"


def test_labels_need_the_newest_image_only_and_a_camera_that_has_them() -> None:
    with pytest.raises(ValueError, match="labels are of the newest image only"):
        replace(SPEC, image_deltas=(-1, 0))
    with pytest.raises(ValueError, match="camera 'front' has no 'labels' in the robot contract"):
        ObservationBuffer(CONTRACT, SPEC, SyncTolerances())


def image(labels: np.ndarray, **changes: object) -> SimpleNamespace:
    wide = labels.dtype.itemsize == 2
    fields = {
        "header": SimpleNamespace(stamp=SimpleNamespace(sec=NOW // 10**9, nanosec=0)),
        "height": labels.shape[0],
        "width": labels.shape[1],
        "encoding": "mono16" if wide else "mono8",
        "is_bigendian": labels.dtype.byteorder == ">",
        "step": labels.shape[1] * labels.dtype.itemsize,
        "data": labels.tobytes(),
    }
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2"])
def test_labels_of_an_image_keep_their_values(kind: str) -> None:
    labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(kind)
    buffer = filled(encoding="mono8" if kind == "u1" else "mono16", images=(0,))
    for view in ("front", "wrist"):
        add_labels_message(buffer, view, image(labels), NOW)
    np.testing.assert_array_equal(buffer.snapshot(NOW, "go").labels["wrist"][0], labels)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "rgb8"}, "step_too_small"),
        ({"encoding": "mono8"}, "wrong_encoding"),
        ({"data": b""}, "data_short"),
    ],
)
def test_a_malformed_label_image_is_the_reason_why_there_is_no_observation(
    changes: dict, reason: str
) -> None:
    buffer = filled()
    with pytest.raises(MalformedError) as error:
        add_labels_message(buffer, "front", image(np.ones(SIZE, np.uint16), **changes), NOW)
    assert error.value.reason == reason
    assert "labels of camera 'front' on 'front/labels'" in error.value.detail
    assert rejection(buffer).reason == reason


def test_labels_of_another_size_than_their_image_are_rejected() -> None:
    buffer = filled(images=(0,))
    for view in ("front", "wrist"):
        add_labels_message(buffer, view, image(np.ones((8, 8), np.uint16)), NOW)
    with pytest.raises(MalformedError, match="labels have 8 x 8 pixels, their image 32 x 16"):
        buffer.snapshot(NOW, "go")


def detections(*boxes: tuple[str, float, float, float, float]) -> SimpleNamespace:
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=NOW // 10**9, nanosec=0)),
        detections=[
            SimpleNamespace(
                id=name,
                bbox=SimpleNamespace(
                    center=SimpleNamespace(position=SimpleNamespace(x=x, y=y)),
                    size_x=width,
                    size_y=height,
                ),
            )
            for name, x, y, width, height in boxes
        ],
    )


def test_the_boxes_of_detections_become_labels_small_ones_in_front() -> None:
    buffer = filled(images=(0,), encoding="detections")
    message = detections(("7", 4.0, 4.0, 4.0, 2.0), ("9", 8.0, 6.0, 20.0, 12.0))
    for view in ("front", "wrist"):
        add_labels_message(buffer, view, message, NOW)
    labels = buffer.snapshot(NOW, "go").labels["front"][0]
    assert {int(n): int((labels == n).sum()) for n in np.unique(labels)} == {
        0: 16 * 32 - 18 * 12,
        7: 4 * 2,
        9: 18 * 12 - 4 * 2,
    }


@pytest.mark.parametrize("name", ["", "cup", "0", "70000", "-1"])
def test_a_detection_without_a_number_is_rejected(name: str) -> None:
    buffer = filled(encoding="detections")
    with pytest.raises(MalformedError, match="must be a number from 1 to 65535"):
        add_labels_message(buffer, "front", detections((name, 4.0, 4.0, 4.0, 2.0)), NOW)
