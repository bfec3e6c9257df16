"""The figures that the documentation promises, on fewer seeds than the benchmark's."""

import numpy as np
import pytest

from benchmarks.continuity.execution import execute
from benchmarks.continuity.figures import figures
from benchmarks.continuity.policies import SYNTHETIC, recorded
from benchmarks.continuity.senders import METHODS
from benchmarks.continuity.stream import Stream

OWN = ("this executor", "this executor, RTC")


def measured(name, source, stream):
    return figures(execute(METHODS[name], source, "jazzy", stream))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("seed", [2, 8])
def test_disagreeing_chunks_stay_below_twice_the_intended_acceleration(name, seed):
    """The two seeds of ten on which blending was sharpest."""
    ours = measured(name, SYNTHETIC, Stream(seed=seed))
    hard = measured("hard replacement", SYNTHETIC, Stream(seed=seed))
    assert ours.sharpness < 2.0
    assert hard.sharpness > 100.0
    assert ours.path < 1.05 * hard.path
    assert ours.finish < 1.05 * hard.finish


@pytest.mark.parametrize("name", OWN)
def test_agreeing_chunks_are_the_intended_motion(name):
    ours = measured(name, SYNTHETIC, Stream(jitter=0.0, sigma=0.0))
    assert ours.path < 0.1
    assert ours.sharpness < 1.05


@pytest.mark.slow
def test_a_recorded_policy_is_followed_without_a_step():
    source = recorded()
    assert source.joints[0] == "shoulder_pan"
    run = execute(METHODS["this executor"], source, "jazzy", Stream(loss=0.1))
    fastest = source.contract.joints[source.joints[0]].limits
    steps = np.abs(np.diff(run.commands, axis=0))
    assert steps.max() <= fastest.velocity * 0.004 * (1 + 1e-6)
    assert np.abs(np.diff(run.commands, 2, axis=0)).max() <= fastest.acceleration * 0.004**2 * 1.001
