# SPDX-License-Identifier: Apache-2.0
"""The checks of checkpoint, robot contract and parameters when the policy is configured."""

from dataclasses import replace

import pytest
import yaml
from lifecycle_msgs.msg import State
from support.policy_stage import SO101, ScriptedPolicy, active, stages

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def test_a_chunk_shorter_than_its_period_is_a_warning_at_configure(stage):
    on = stage(rate_hz=2.0)
    assert on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("chunk_duration: "))
    assert "a chunk lasts 0.267 s, but the next one comes 0.501 s after" in log.msg


def test_tolerances_that_the_contract_contradicts_fail_configure_or_warn(stage, tmp_path):
    contract = yaml.safe_load(SO101.read_text())
    contract["cameras"]["wrist"]["rate"] = 15.0
    file = tmp_path / "slow.yaml"
    file.write_text(yaml.safe_dump(contract))
    on = stage(robot=file)
    assert on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("image_skew: "))
    assert f"{file}: 'cameras.wrist.rate' is 15 Hz" in log.msg
    assert on.cleanup()
    contract["cameras"]["wrist"]["latency"] = 0.5
    file.write_text(yaml.safe_dump(contract))
    assert not on.configure()
    failed = on.logs.wait(lambda m: m.msg.startswith("configure failed: "))
    assert f"{file}: 'cameras.wrist.latency' is 0.5 s" in failed.msg
    assert on.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_chunks_that_the_executor_would_reject_fail_configure(stage):
    policy = ScriptedPolicy()
    policy.spec = replace(policy.spec, horizon=1)
    on = stage(policy)
    assert not on.configure()
    failed = on.logs.wait(lambda m: m.msg.startswith("configure failed: "))
    assert "gives chunks of 1 step, out of range [2, 1000]" in failed.msg


def test_an_inference_that_is_too_slow_for_its_chunks_is_logged_once_while_it_runs(stage):
    on = active(stage, rate_hz=3.0)
    log = on.logs.wait(lambda m: m.msg.startswith("inference is too slow for the horizon"))
    assert "of its 8 steps are executed: the robot stops between chunks" in log.msg
