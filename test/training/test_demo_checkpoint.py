# SPDX-License-Identifier: Apache-2.0
"""The command that makes the embedded checkpoint, on little data, and the embedded checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from groot_ros.core import PolicyConfig
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import load_contract
from groot_ros.sim import HOME, JOINTS, SimulatedArm
from groot_ros.sim.closed_loop import drive
from groot_ros.training.demo_checkpoint import (
    TAG,
    as_chunk_policy,
    check,
    main,
    make_checkpoint,
    report,
)
from groot_ros.training.demo_data import DT, HORIZON

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "checkpoints/so101_demo"
CONTRACT = load_contract(ROOT / "config/robots/so101.yaml")


def load(checkpoint: Path) -> Policy:
    config = PolicyConfig(checkpoint=str(checkpoint), embodiment=TAG, device="cpu")
    return load_policy(config, robot=CONTRACT)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "checkpoint"
    make_checkpoint(out, states=4, backbone_steps=2, head_steps=2, seed=0)
    return out


def test_the_written_checkpoint_loads_and_gives_chunks(miniature):
    policy = load(miniature)
    assert policy.spec.views == ("front", "wrist")
    assert policy.spec.horizon == HORIZON
    assert policy.dt == pytest.approx(DT, abs=1e-6)
    infer = as_chunk_policy(policy, CONTRACT)
    images = dict.fromkeys(policy.spec.views, np.zeros((480, 640, 3), np.uint8))
    chunk = infer(images, np.array(HOME), "touch the red cube")
    assert chunk.shape == (HORIZON, len(JOINTS))
    # Actions are relative: with any weights the chunk begins near the arm's position.
    assert np.abs(chunk[0, :5] - HOME[:5]).max() < 0.1


def test_the_same_seed_trains_the_same_weights(miniature, tmp_path):
    make_checkpoint(tmp_path / "again", states=4, backbone_steps=2, head_steps=2, seed=0)
    for name in ("model.safetensors", "statistics.json", "processor_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (miniature / name).read_bytes()


def test_a_checkpoint_without_training_fails_the_check(miniature, capsys):
    assert not report(check(miniature))
    assert "FAILED" in capsys.readouterr().out


def test_the_command_line_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--out checkpoints/so101_demo" in capsys.readouterr().out


def test_the_embedded_checkpoint_is_small():
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 6e6


def test_the_embedded_checkpoint_reaches_every_requested_cube():
    legs = check(EMBEDDED, seed=11)
    assert report(legs)
    for leg in legs[1:]:
        assert (leg.travel >= 0.5).sum() >= 3


def test_the_embedded_checkpoint_returns_home():
    policy = load(EMBEDDED)
    joints = []

    def watch(images, state, text):
        joints.append(state)
        return infer(images, state, text)

    infer = as_chunk_policy(policy, CONTRACT)
    drive(watch, ("touch the red cube", "go home"), seconds=3.6)
    np.testing.assert_allclose(joints[-1], SimulatedArm().positions, atol=0.12)
