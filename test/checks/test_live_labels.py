# SPDX-License-Identifier: Apache-2.0
"""Labels of cameras in a running graph: facts with which the checks find something, or nothing."""

from dataclasses import replace

import pytest

from groot_ros.checks import Context, verdicts
from groot_ros.core.live_graph import ImageForm, LiveGraph, LiveInput
from groot_ros.core.share import robot_path
from groot_ros.families.family import PolicySpec
from groot_ros.robot import load_contract

ARM7 = load_contract(robot_path("arm7_suction_table"))
IMAGE = "sensor_msgs/msg/Image"
FORM = ImageForm(256, 128, "rgb8", step=768, data=range(98304))
LABELS = ImageForm(256, 128, "mono8", step=256, data=range(32768))
SPEC = PolicySpec(
    family="scripted",
    embodiment="arm",
    views=("front", "top"),
    image_history=(0,),
    state_history=(0,),
    state_groups={},
    action_groups={},
    action_space={},
    horizon=1,
    labels=True,
)


def live(topic: str, form: ImageForm, **changes) -> LiveInput:
    rate = ARM7.cameras["front"].rate
    plain = LiveInput(
        topic, IMAGE, ("/driver",), (IMAGE,), received=60, rate=rate, age=0.02, forms=(form,)
    )
    return replace(plain, with_image=60, **changes)


def found(name: str, spec: PolicySpec | None = SPEC, **changes):
    cameras = {view: live(f"/{view}/image_raw", FORM) for view in ARM7.cameras}
    labels = {view: live(f"/{view}/labels", LABELS) for view in SPEC.views}
    labels["top"] = replace(labels["top"], **changes)
    graph = LiveGraph("/", 3.0, cameras=cameras, labels=labels)
    (verdict,) = [v for v in verdicts(Context(spec, ARM7, graph=graph)) if v.check.name == name]
    return verdict


NAMES = ("label_images", "input_publishers", "input_types", "input_silent", "input_stamps")


@pytest.mark.parametrize("name", NAMES)
def test_labels_as_the_contract_states_them_pass(name):
    for spec in (SPEC, None):
        assert (found(name, spec).findings, found(name, spec).skipped) == ((), "")


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        (
            "label_images",
            {"forms": (replace(LABELS, encoding="mono16"),)},
            "cameras.top.labels (/top/labels)",
        ),
        (
            "label_images",
            {"forms": (replace(LABELS, width=64, height=64, step=64, data=range(4096)),)},
            "have 64 x 64 pixels, their images 256 x 128 (bad_labels)",
        ),
        (
            "label_images",
            {"with_image": 3},
            "3 of 60 messages have the stamp of an image on /top/image_raw",
        ),
        (
            "input_publishers",
            {"publishers": (), "types": (), "received": 0},
            "cameras.top.labels (/top/labels) has no publisher",
        ),
        ("input_types", {"types": ("vision_msgs/msg/Detection2DArray",)}, "expected sensor_msgs"),
        ("input_silent", {"received": 0}, "cameras.top.labels (/top/labels) sent no message"),
        ("input_stamps", {"age": 0.5}, "cameras.top.labels (/top/labels) is at least 0.500 s old"),
    ],
)
def test_a_fault_of_the_labels_is_found_with_a_remedy(name, changes, text):
    (finding,) = found(name, **changes).findings
    assert text in finding.text
    assert len(finding.remedy) > 5


def test_labels_are_not_examined_for_a_checkpoint_that_needs_none():
    spec = replace(SPEC, labels=False)
    missing = {"publishers": (), "types": (), "received": 0}
    assert found("input_publishers", spec, **missing).findings == ()
    assert found("label_images", spec).skipped.startswith("no labels are needed")


def test_some_lost_images_are_no_fault_of_the_labels():
    assert found("label_images", with_image=31).findings == ()
    assert found("label_images", with_image=29).findings != ()
