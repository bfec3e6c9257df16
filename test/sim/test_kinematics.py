import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.sim import SimulatedArm
from groot_ros.sim.kinematics import InverseKinematics, Unreachable

ARM = SimulatedArm()
KINEMATICS = InverseKinematics(ARM.model)


@given(st.floats(0.14, 0.27), st.floats(-1.2, 1.2), st.floats(0.04, 0.12), st.floats(0.9, 1.35))
@settings(max_examples=60, deadline=None)
def test_the_grasp_point_comes_to_any_point_before_the_arm(distance, pan, height, pitch):
    point = np.array([distance * np.cos(pan), distance * np.sin(pan), height])
    joints = KINEMATICS.reach(point, pitch)
    ARM.place_joints([*joints, 0.0, 0.2])
    np.testing.assert_allclose(ARM.grasp_point, point, atol=1e-3)
    assert joints[1:].sum() == pytest.approx(pitch, abs=0.02)
    assert (joints >= ARM.limits[:4, 0]).all()
    assert (joints <= ARM.limits[:4, 1]).all()


@pytest.mark.parametrize("point", [(0.6, 0.0, 0.05), (0.0, 0.0, 0.8)])
def test_a_point_out_of_reach_is_an_error_that_names_it(point):
    with pytest.raises(Unreachable, match=r"cannot come to \["):
        KINEMATICS.reach(point, 1.3)
