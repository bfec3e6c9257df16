# SPDX-License-Identifier: Apache-2.0
"""`groot-ros inspect` and the policy's configure give the same verdict, in the same words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.checks import require
from groot_ros.cli.main import main
from groot_ros.core import PolicyConfig
from groot_ros.core.share import robot_path
from groot_ros.nodes.policy_setup import checked, load
from groot_ros.robot import load_contract

Edit = Callable[[Any], object]


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def modality(name: str, **changes: Any) -> Edit:
    return lambda modes: modes[name].update(changes)


def camera(name: str, **changes: Any) -> Edit:
    return lambda contract: contract["cameras"][name].update(changes)


def inspect(checkpoint: Path, robot: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["inspect", "--checkpoint", str(checkpoint), "--robot", robot])
    return status, "".join(capsys.readouterr())


def configure(checkpoint: Path, robot: str) -> tuple[str, list[str]]:
    """Return the error of the policy's configure, or "", and its warnings."""
    config = PolicyConfig(checkpoint=str(checkpoint), robot=robot, embodiment=TAG)
    try:
        contract = load_contract(robot_path(robot))
        policy = load(
            config,
            robot=contract,
            check=lambda spec: require(checked(config, contract, spec)),
        )
        return "", [str(w) for w in require(checked(config, contract, policy.spec))]
    except ValueError as error:
        return str(error), []


def keep(_: Any) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("checkpoint", "robot", "expected"),
    [
        (modality("video", delta_indices=[-10, -5]), keep, "video.delta_indices' is [-10, -5]"),
        (modality("video", delta_indices=[0, -1]), keep, "video.delta_indices' is [0, -1]"),
        (modality("video", delta_indices=[0, 1]), keep, "video.delta_indices' is [0, 1]"),
        (modality("state", delta_indices=[0, 3]), keep, "state.delta_indices' is [0, 3]"),
        (modality("action", delta_indices=[0]), keep, "action.delta_indices' gives chunks of 1"),
        (modality("action", delta_indices=[0, 1, 3]), keep, "are not evenly spaced"),
        (modality("video", modality_keys=["front", "top"]), keep, "camera 'top' is not in the"),
        (keep, camera("front", latency=0.5), "'cameras.front.latency' is 0.5 s"),
        (keep, lambda c: c["inputs"]["state"].pop("gripper"), "state group 'gripper' is not under"),
        (keep, lambda c: c["outputs"].pop("gripper"), "action group 'gripper' is not under"),
        (
            keep,
            lambda c: c.update(
                outputs={"single_arm": c["outputs"]["single_arm"]}, ignore=["gripper.*"]
            ),
            "'controllers[1].joints' has gripper, which no action group",
        ),
        (keep, lambda c: c.update(action_dt=2.0), "'action_dt' is 2, out of range"),
        (modality("state", modality_keys="single_arm"), keep, "'modality_keys' must be a list"),
    ],
)
def test_what_inspect_finds_is_what_configure_refuses(
    tmp_path: Path,
    checkpoint: Edit,
    robot: Edit,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory, contract = written(tmp_path, checkpoint, robot)
    status, text = inspect(directory, contract, capsys)
    refused, _ = configure(directory, contract)
    assert status != 0
    assert expected in text
    assert expected in refused
    assert "\n" not in refused
    assert refused.removesuffix(" (and 1 more, see groot-ros inspect)") in text


@pytest.mark.parametrize(
    ("checkpoint", "robot", "expected"),
    [
        (keep, camera("wrist", rate=15.0), "max_image_skew 0.05 s apart ('front' has 30 Hz)"),
        (keep, lambda c: c["inputs"]["sources"]["arm"].update(rate=8.0), "max_state_gap 0.1 s"),
        (modality("action", delta_indices=[0, 1, 2]), keep, "a chunk lasts 0.100 s"),
        (
            keep,
            lambda c: c["joints"]["elbow_flex"].pop("unit_in"),
            "'joints.elbow_flex' is trained with offsets from -20 to 20 rad, most of them beyond",
        ),
        (keep, keep, ""),
    ],
)
def test_a_warning_is_the_same_in_both_and_refuses_nothing(
    tmp_path: Path,
    checkpoint: Edit,
    robot: Edit,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory, contract = written(tmp_path, checkpoint, robot)
    status, text = inspect(directory, contract, capsys)
    refused, warnings = configure(directory, contract)
    assert (status, refused) == (0, "")
    assert len(warnings) == bool(expected)
    for warning in warnings:
        assert expected in warning
        assert warning in text


def written(directory: Path, checkpoint: Edit, robot: Edit) -> tuple[Path, str]:
    """Write a checkpoint and a contract with these changes; return their paths."""
    write_tiny_checkpoint(directory / "checkpoint")
    path = directory / "checkpoint" / "processor_config.json"
    value = json.loads(path.read_text())
    checkpoint(value["processor_kwargs"]["modality_configs"][TAG])
    path.write_text(json.dumps(value))
    contract = yaml.safe_load(robot_path("so101").read_text())
    robot(contract)
    file = directory / "robot.yaml"
    file.write_text(yaml.safe_dump(contract, sort_keys=False))
    return directory / "checkpoint", str(file)
