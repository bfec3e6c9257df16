import numpy as np
import pytest
from support.control_bench import EPOCH_NS

from groot_ros.control.curve import Curve

TIMES = EPOCH_NS + np.array([0, 10, 25, 60], dtype=np.int64) * 1_000_000


@pytest.fixture
def curve():
    rng = np.random.default_rng(1)
    return Curve(TIMES, rng.normal(size=(4, 2)), rng.normal(size=(4, 2)))


def test_a_curve_passes_through_its_knots(curve):
    positions, velocities = curve.sample(TIMES)
    np.testing.assert_allclose(positions, curve.positions, atol=1e-15)
    np.testing.assert_allclose(velocities, curve.velocities, atol=1e-12)


def test_outside_its_knots_a_curve_stands_at_its_ends(curve):
    for t, end in ((TIMES[0] - 5, 0), (TIMES[-1] + 5, -1)):
        position, velocity = curve.at(int(t))
        np.testing.assert_allclose(position, curve.positions[end])
        assert velocity.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("ms", [3, 10, 31])
def test_cutting_a_curve_does_not_change_it(curve, ms):
    cut = EPOCH_NS + ms * 1_000_000
    before, after = curve.until(cut), curve.since(cut)
    assert before.end_ns == after.start_ns == cut
    assert (np.diff(before.times) > 0).all()
    assert (np.diff(after.times) > 0).all()
    t = np.arange(TIMES[0], TIMES[-1], 1_000_000)
    for part, where in ((before, t < cut), (after, t >= cut)):
        for got, wanted in zip(part.sample(t[where]), curve.sample(t), strict=True):
            np.testing.assert_allclose(got, wanted[where], atol=1e-12)


def test_a_cut_beyond_the_end_holds_the_last_position(curve):
    longer = curve.until(int(TIMES[-1]) + 1_000_000)
    np.testing.assert_array_equal(longer.positions[-1], longer.positions[-2])
    assert longer.velocities[-1].tolist() == [0.0, 0.0]


def test_a_cut_before_the_start_changes_nothing(curve):
    assert curve.since(int(TIMES[0]) - 1) is curve


def test_columns_pick_joints_in_the_order_asked_for(curve):
    np.testing.assert_array_equal(curve.columns([1, 0]).positions, curve.positions[:, ::-1])


def test_a_nanosecond_is_not_lost_at_todays_epoch():
    line = Curve(TIMES[:2], np.array([[0.0], [1.0]]), np.array([[100.0], [100.0]]))
    position, _ = line.at(int(TIMES[0]) + 1)
    assert position[0] == pytest.approx(1e-7, abs=1e-15)


def test_how_sharp_a_motion_is_is_the_root_mean_square_of_its_acceleration():
    t = np.array([0.0, 0.1, 0.2])
    # x' = 0, then t - 0.1 from there on: accelerations 0, 0, 1, 1 at the segments' ends.
    p, v = np.maximum(t - 0.1, 0.0) ** 2 / 2, np.maximum(t - 0.1, 0.0)
    curve = Curve(np.round(t * 1e9).astype(np.int64), np.outer(p, [1, -3]), np.outer(v, [1, -3]))
    np.testing.assert_allclose(curve.rms_acceleration(), np.sqrt([1 / 2, 9 / 2]))
