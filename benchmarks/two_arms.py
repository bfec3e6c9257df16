# SPDX-License-Identifier: Apache-2.0
"""Robot of the benchmarks: two cameras, two arms and a waist."""

import numpy as np

from groot_ros.families.training import DataLayout

VIEWS = ("front", "wrist")
GROUPS = {"left_arm": 7, "right_arm": 7, "waist": 3}
_STATISTICS = {"min": -3, "max": 3, "mean": 0, "std": 1, "q01": -2, "q99": 2}


def data_layout(horizon: int) -> DataLayout:
    """Return the layout of the robot's data, for chunks of `horizon` steps."""
    limits = {
        group: {name: np.full(width, value) for name, value in _STATISTICS.items()}
        for group, width in GROUPS.items()
    }
    return DataLayout(
        "new_embodiment",
        VIEWS,
        GROUPS,
        GROUPS,
        horizon,
        statistics={"state": limits, "action": limits},
        image_edge=256,
    )
