"""The command that makes the embedded checkpoint, in miniature, and the checkpoint itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from groot_ros.models.gr00t_n1d6 import build_model
from groot_ros.policy import load_policy
from groot_ros.robot import load_contract
from groot_ros.sim import HOME, JOINTS, SimulatedArm
from groot_ros.training.demo_checkpoint import as_chunk_policy, check, main, make_checkpoint, report
from groot_ros.training.demo_data import DT, HORIZON
from groot_ros.training.demo_model import TAG, model_config
from groot_ros.training.initialise import initialise

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "checkpoints/so101_demo"
CONTRACT = load_contract(ROOT / "config/robots/so101.yaml")


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "checkpoint"
    make_checkpoint(out, states=4, backbone_steps=2, head_steps=2, seed=0)
    return out


def test_what_it_writes_is_a_whole_checkpoint_that_loads(miniature):
    policy = load_policy(miniature, TAG, robot=CONTRACT, device="cpu")
    assert policy.spec.views == ("front", "wrist")
    assert policy.spec.horizon == HORIZON
    assert policy.dt == pytest.approx(DT, abs=1e-6)
    infer = as_chunk_policy(policy, CONTRACT)
    images = dict.fromkeys(policy.spec.views, np.zeros((480, 640, 3), np.uint8))
    chunk = infer(images, np.array(HOME), "touch the red cube")
    assert chunk.shape == (HORIZON, len(JOINTS))
    # Relative actions: whatever the weights say, the arm's plan begins near where the arm is.
    assert np.abs(chunk[0, :5] - HOME[:5]).max() < 0.1


def test_the_same_seed_trains_the_same_weights(miniature, tmp_path):
    make_checkpoint(tmp_path / "again", states=4, backbone_steps=2, head_steps=2, seed=0)
    for name in ("model.safetensors", "statistics.json", "processor_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (miniature / name).read_bytes()


def test_an_untrained_checkpoint_fails_the_check(miniature, capsys):
    assert not report(check(miniature))
    assert "FAILED" in capsys.readouterr().out


def test_the_command_line_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--out checkpoints/so101_demo" in capsys.readouterr().out


def test_initial_weights_depend_on_the_seed_alone():
    def weights(seed):
        model = build_model(model_config(), seed=0)
        initialise(model, seed)
        return torch.cat([p.flatten() for p in model.action_head.parameters()])

    assert (weights(1) == weights(1)).all()
    assert not (weights(1) == weights(2)).all()


def test_the_embedded_checkpoint_is_small():
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 6e6


def test_the_embedded_checkpoint_reaches_every_cube_that_it_is_told_to():
    legs = check(EMBEDDED, seed=11)
    assert report(legs)
    for leg in legs[1:]:
        assert (leg.travel >= 0.5).sum() >= 3


def test_the_embedded_checkpoint_goes_home():
    from groot_ros.sim.closed_loop import drive

    policy = load_policy(EMBEDDED, TAG, robot=CONTRACT, device="cpu")
    joints = []

    def watch(images, state, text):
        joints.append(state)
        return infer(images, state, text)

    infer = as_chunk_policy(policy, CONTRACT)
    drive(watch, ("touch the red cube", "go home"), seconds=3.6)
    np.testing.assert_allclose(joints[-1], SimulatedArm().positions, atol=0.12)
