# SPDX-License-Identifier: Apache-2.0
"""Each check: what it finds, with file, key and remedy, and what it accepts."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.table_robot import table_robot

from groot_ros.checks import CHECKS, CheckError, Context, Severity, find_problems, require
from groot_ros.checks.chunk_timing import chunk_timing
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig, s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract, load_contract

SPEC = PolicySpec(
    family="scripted",
    embodiment="arm",
    views=("front", "wrist"),
    image_history=(0,),
    state_history=(0,),
    state_groups={"single_arm": 5, "gripper": 1},
    action_groups={"single_arm": 5, "gripper": 1},
    action_space={"single_arm": "joint", "gripper": "joint"},
    horizon=16,
    supports_prefix=True,
    sources={"image_history": "/ckpt/processor_config.json: 'video.delta_indices'"},
)


@pytest.fixture(scope="module")
def so101() -> RobotContract:
    return load_contract(robot_path("so101"))


def known(robot: RobotContract, **changes) -> Context:
    context = Context(SPEC, robot, "/arm.yaml", PolicyConfig(), ExecutorConfig())
    return replace(context, **changes)


def found(context: Context) -> dict[str, str]:
    """Return check -> text of its first finding."""
    return {f.check: str(f) for f in reversed(find_problems(context))}


def camera(robot: RobotContract, name: str, **changes) -> RobotContract:
    cameras = {**robot.cameras, name: replace(robot.cameras[name], **changes)}
    return replace(robot, cameras=cameras)


def joint_states(robot: RobotContract, rate: float) -> RobotContract:
    return replace(robot, sources=tuple(replace(s, rate=rate) for s in robot.sources))


def test_the_shipped_contract_with_its_defaults_has_no_finding(so101: RobotContract) -> None:
    assert find_problems(known(so101, latency=0.1)) == []


def test_names_are_distinct_and_every_check_says_what_it_compares_and_the_remedy() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) >= 20
    for check in CHECKS:
        assert check.compares
        assert check.remedy
        assert not check.remedy.endswith(".")


def test_a_check_whose_needs_are_not_known_is_skipped(so101: RobotContract) -> None:
    assert find_problems(Context()) == []
    assert find_problems(Context(robot=joint_states(so101, 1.0))) == []
    executor_only = Context(robot=joint_states(so101, 1.0), executor=ExecutorConfig())
    assert found(executor_only).keys() == {"joint_state_timeout"}


def test_require_raises_the_errors_and_returns_the_warnings(so101: RobotContract) -> None:
    slow = joint_states(so101, 3.0)
    assert [f.check for f in require(known(slow))] == ["state_gap", "lost_joint_state"]
    with pytest.raises(CheckError, match=r"image_history|ends in the future") as caught:
        require(known(slow, spec=replace(SPEC, image_history=(0, 1), horizon=1)))
    assert [f.severity for f in caught.value.findings] == [Severity.ERROR] * 2
    assert str(caught.value).endswith("(and 1 more, see groot-ros inspect)")


def test_a_contract_of_an_old_version_is_a_warning_in_both_nodes(so101: RobotContract) -> None:
    old = load_contract(Path(__file__).parents[1] / "data" / "so101_version_1.yaml")
    context = Context(robot=old, robot_file=old.warnings[0].partition(": ")[0])
    assert found(context)["contract_warnings"] == old.warnings[0]


# Kind B: the form of observations and chunks.


@pytest.mark.parametrize("deltas", [(-10, -5), (0, -1), (0, 1), (), (-1, -1, 0)])
def test_image_steps_that_an_observation_cannot_have_name_file_and_key(
    so101: RobotContract, deltas: tuple[int, ...]
) -> None:
    text = found(known(so101, spec=replace(SPEC, image_history=deltas)))["image_history"]
    assert text.startswith(f"/ckpt/processor_config.json: 'video.delta_indices' is {list(deltas)}")
    assert "they must ascend and end at 0" in text


POSES = replace(
    SPEC,
    family="vima",
    state_groups={},
    action_groups={"pick": 7, "place": 7},
    action_space={"pick": "pose", "place": "pose"},
    labels=True,
    pictures=True,
    action="pick_place",
    supports_prefix=False,
)


def test_poses_on_a_table_need_a_table_a_model_and_labels_in_the_contract(
    so101: RobotContract,
) -> None:
    bare = found(known(replace(so101, model=None, urdf=None), spec=POSES))
    assert bare.keys() == {"table", "labels"}
    assert bare["table"].startswith("/arm.yaml: has no 'table', on which model family 'vima' gives")
    assert bare["labels"].startswith("/arm.yaml: 'cameras.front' has no 'labels'")
    assert not found(known(table_robot(), spec=POSES))
    # The other families do not need them.
    assert not found(known(so101))


def test_state_steps_may_end_before_the_observation_but_not_after_it(so101: RobotContract) -> None:
    assert not found(known(so101, spec=replace(SPEC, state_history=(-3, -1))))
    text = found(known(so101, spec=replace(SPEC, state_history=(0, 2))))["state_history"]
    assert text.startswith("checkpoint: 'state_history' is [0, 2], which ends in the future")


@pytest.mark.parametrize(
    ("change", "check", "text"),
    [
        ({"horizon": 1}, "chunk_steps", "chunks of 1 step, out of range [2, 1000]"),
        ({"horizon": 1001}, "chunk_steps", "chunks of 1001 steps, out of range [2, 1000]"),
        ({"step_spacing": 31}, "chunk_dt", "the steps of a chunk are 1.03333 s apart"),
        ({"first_step": 31}, "start_too_late", "begin 1.03 s after their observation"),
        (
            {"action_groups": {"single_arm": 5}, "action_space": {"single_arm": "joint"}},
            "uncommanded_joints",
            "/arm.yaml: 'controllers[1].joints' has gripper, which no action group of embodiment",
        ),
        (
            {
                "action_groups": {"single_arm": 5, "gripper": 1, "eef": 9},
                "action_space": {"single_arm": "joint", "gripper": "joint", "eef": "pose"},
            },
            "pose_groups",
            "has group 'eef', the pose of an end effector",
        ),
        ({"views": ("front", "top")}, "counterparts", "/arm.yaml: camera 'top' is not in the"),
    ],
)
def test_chunks_that_the_executor_would_reject_are_errors(
    so101: RobotContract, change: dict, check: str, text: str
) -> None:
    findings = find_problems(known(so101, spec=replace(SPEC, **change)))
    errors = {f.check: f for f in findings if f.severity is Severity.ERROR}
    assert errors.keys() == {check}
    assert text in str(errors[check])


def test_real_time_chunking_needs_a_family_that_supports_it(so101: RobotContract) -> None:
    spec, policy = replace(SPEC, supports_prefix=False), PolicyConfig(rtc_mode="native")
    text = found(known(so101, spec=spec, policy=policy))["prefix_support"]
    assert text == (
        "parameter rtc.mode is native, but model family 'scripted' cannot continue committed "
        "motion: set it to off"
    )


# Kind G: tolerances against promised rates.


def test_a_slow_camera_next_to_a_fast_one_contradicts_max_image_skew(so101: RobotContract) -> None:
    text = found(known(camera(so101, "wrist", rate=15.0)))["image_skew"]
    assert text.startswith("/arm.yaml: 'cameras.wrist.rate' is 15 Hz, an image every 0.067 s")
    assert "max_image_skew 0.05 s apart ('front' has 30 Hz)" in text
    assert text.endswith("set max_image_skew to at least 0.08, or increase the rate")
    wider = PolicyConfig(max_image_skew=0.068)
    assert not found(known(camera(so101, "wrist", rate=15.0), policy=wider))


def test_a_single_slow_camera_has_no_skew(so101: RobotContract) -> None:
    spec = replace(SPEC, views=("wrist",))
    assert not found(known(camera(so101, "wrist", rate=15.0), spec=spec))


def test_a_camera_that_the_checkpoint_does_not_use_is_not_checked(so101: RobotContract) -> None:
    spec = replace(SPEC, views=("front",))
    assert not found(known(camera(so101, "wrist", rate=1.0, latency_ns=s_to_ns(9)), spec=spec))


def test_a_camera_whose_latency_reaches_max_image_age_never_delivers(so101: RobotContract) -> None:
    late = camera(so101, "front", latency_ns=s_to_ns(0.3))
    findings = found(known(late))
    assert (
        "'cameras.front.latency' is 0.3 s, but images older than max_image_age 0.3 s"
        in (findings["image_latency"])
    )
    assert findings["image_latency"].endswith("at least 0.44, or correct the latency")
    with pytest.raises(CheckError):
        require(known(late))


def test_a_camera_slower_than_max_image_age_is_a_warning(so101: RobotContract) -> None:
    spec = replace(SPEC, views=("front",))
    findings = found(known(camera(so101, "front", rate=3.0), spec=spec))
    assert findings.keys() == {"image_age"}
    assert (
        "its newest image is up to 0.333 s old, more than max_image_age 0.3 s"
        in (findings["image_age"])
    )


def test_a_history_of_images_needs_frames_near_its_times(so101: RobotContract) -> None:
    spec = replace(SPEC, views=("front",), image_history=(-2, 0))
    policy = PolicyConfig(max_image_skew=0.01)
    text = found(known(so101, spec=spec, policy=policy))["image_history_rate"]
    assert "up to 0.017 s away from it, more than max_image_skew 0.01 s (missing_history)" in text
    dense = replace(spec, image_history=(-1, 0))
    text = found(known(camera(so101, "front", rate=15.0), spec=dense))["image_history_rate"]
    assert text.endswith(
        "used more than once: increase the rate to 30 Hz, that of the training data"
    )


@pytest.mark.parametrize(
    ("rate", "checks"),
    [
        (0.0, set()),
        (10.0, set()),
        (9.0, {"state_gap"}),
        (3.0, {"state_gap", "lost_joint_state"}),
        (2.0, {"state_gap", "joint_state_timeout"}),
    ],
)
def test_joint_states_slower_than_their_tolerances_name_both_parameters(
    so101: RobotContract, rate: float, checks: set[str]
) -> None:
    findings = found(known(joint_states(so101, rate)))
    assert findings.keys() == checks
    for check, parameter in (
        ("state_gap", "max_state_gap 0.1 s"),
        ("joint_state_timeout", "joint_state_timeout 0.5 s"),
        ("lost_joint_state", "joint_state_timeout is 0.5 s"),
    ):
        if check in checks:
            assert parameter in findings[check]
            assert f"'inputs.sources.arm.rate' is {rate:g} Hz" in findings[check]


def test_the_latency_of_joint_states_counts_as_well(so101: RobotContract) -> None:
    late = replace(so101, sources=tuple(replace(s, latency_ns=s_to_ns(0.1)) for s in so101.sources))
    findings = found(known(late))
    assert findings.keys() == {"state_gap"}
    assert (
        "is 100 Hz with a latency of 0.1 s: joint states are up to 0.110 s away"
        in (findings["state_gap"])
    )
    as_late = camera(
        camera(late, "front", latency_ns=s_to_ns(0.1)), "wrist", latency_ns=s_to_ns(0.1)
    )
    assert not found(known(as_late))
    later = replace(
        so101, sources=tuple(replace(s, rate=0.0, latency_ns=s_to_ns(0.6)) for s in so101.sources)
    )
    text = found(Context(robot=later, executor=ExecutorConfig()))["joint_state_timeout"]
    assert "'inputs.sources.arm.latency' is 0.6 s: a joint state is 0.600 s old" in text


# Kind J: a chunk must last until the next one.


def test_a_chunk_shorter_than_period_and_latency_is_a_warning(so101: RobotContract) -> None:
    short = known(so101, spec=replace(SPEC, horizon=8), latency=0.15)
    text = found(short)["chunk_duration"]
    assert "8 steps of 0.0333 s: a chunk lasts 0.267 s, but the next one comes 0.350 s" in text
    assert "(period 0.200 s, latency 0.150 s)" in text
    assert not found(replace(short, latency=0.06))


def test_an_inference_slower_than_its_period_skips_ticks(so101: RobotContract) -> None:
    timing = chunk_timing(SPEC, so101, PolicyConfig(rate_hz=10.0), 0.25)
    assert timing.period == pytest.approx(0.3)
    assert timing.needed == pytest.approx(0.55)
    assert "chunk_duration" in found(known(so101, policy=PolicyConfig(rate_hz=10.0), latency=0.25))


def test_the_latency_of_a_camera_shortens_what_is_left_of_a_chunk(so101: RobotContract) -> None:
    policy, spec = PolicyConfig(max_image_age=0.5), replace(SPEC, horizon=12)
    late = camera(so101, "front", latency_ns=s_to_ns(0.1))
    assert not found(known(so101, policy=policy, spec=spec, latency=0.19))
    text = found(known(late, policy=policy, spec=spec, latency=0.19))["chunk_duration"]
    assert "(period 0.200 s, camera latency 0.100 s, latency 0.190 s)" in text


def test_a_rate_that_is_too_low_is_found_without_a_latency(so101: RobotContract) -> None:
    slow = known(so101, policy=PolicyConfig(rate_hz=1.5))
    assert "(period 0.667 s)" in found(slow)["chunk_duration"]


def test_a_latency_above_max_chunk_age_is_a_warning(so101: RobotContract) -> None:
    text = found(known(so101, spec=replace(SPEC, horizon=90), latency=0.9))["chunk_age"]
    assert text.startswith("parameter max_chunk_age is 1 s, but the next chunk comes 1.900 s after")
    policy = PolicyConfig(max_image_age=60.0)
    very_late = camera(so101, "front", latency_ns=s_to_ns(1.0))
    assert "(too_old)" in found(known(very_late, policy=policy))["chunk_latency"]


def test_real_time_chunking_without_overlap_has_no_effect(so101: RobotContract) -> None:
    policy = PolicyConfig(rtc_mode="guided")
    text = found(known(so101, policy=policy, latency=0.3))["chunk_overlap"]
    assert "a chunk of 16 steps is 10 steps late and 12 of its steps are executed" in text
    assert "chunk_overlap" not in found(known(so101, policy=policy, latency=0.1))


def test_the_executor_alone_refuses_cameras_that_are_all_too_late(so101: RobotContract) -> None:
    """With one that is not, the checkpoint may do without the late ones."""
    one = camera(so101, "front", latency_ns=s_to_ns(2.0))
    executor = ExecutorConfig()
    assert not found(Context(robot=one, executor=executor))
    both = camera(one, "wrist", latency_ns=s_to_ns(2.0))
    text = found(Context(robot=both, executor=executor))["chunk_latency"]
    assert "'cameras.front.latency' is 2 s, but the executor rejects chunks" in text
    patient = ExecutorConfig(max_chunk_age=3.0)
    assert not found(Context(robot=both, executor=patient))


def test_chunks_that_are_over_before_they_can_act_are_an_error(so101: RobotContract) -> None:
    past = replace(SPEC, first_step=-SPEC.horizon)
    assert "every chunk is over before it can act" in found(known(so101, spec=past))["chunk_over"]
    late = camera(so101, "front", latency_ns=s_to_ns(0.6))
    policy = PolicyConfig(max_image_age=2.0)
    text = found(known(late, policy=policy))["chunk_over"]
    assert "0.500 s after the observation, whose camera has a latency of 0.600 s" in text
    # How long an inference takes is measured on this machine, so that is a warning.
    slow = found(known(so101, latency=0.6))
    assert "chunk_over" not in slow
    assert slow["chunk_duration"].count("is over before it can act (no_steps_left)") == 1
