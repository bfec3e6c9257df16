import numpy as np
import pytest
from support.control_bench import EPOCH_NS

from groot_ros.control.curve import Curve
from groot_ros.control.timeline import even_rows

MS = 1_000_000
CURVE = Curve(
    EPOCH_NS + np.array([0, 100 * MS], dtype=np.int64),
    np.array([[0.0], [1.0]]),
    np.full((2, 1), 10),
)


@pytest.mark.parametrize("anchor_ms", [-33, 0, 7, 50, 97, 150])
def test_rows_fall_on_the_anchors_grid_within_the_curve(anchor_ms):
    start_ns, positions, velocities = even_rows(
        CURVE, EPOCH_NS - 5, EPOCH_NS + anchor_ms * MS, 0.01
    )
    assert (start_ns - EPOCH_NS - anchor_ms * MS) % (10 * MS) == 0
    assert 0 <= start_ns - EPOCH_NS < 10 * MS
    t = (start_ns - EPOCH_NS) / 1e9 + 0.01 * np.arange(len(positions))
    assert 0.09 < t[-1] <= 0.1
    np.testing.assert_allclose(positions[:, 0], 10 * t, atol=1e-12)
    np.testing.assert_allclose(velocities, 10.0)


def test_history_begins_where_asked():
    start_ns, _, _ = even_rows(CURVE, EPOCH_NS + 42 * MS, EPOCH_NS, 0.01)
    assert start_ns == EPOCH_NS + 50 * MS
