from pathlib import Path

import pytest
from import_graph import MAY_IMPORT, violations

PACKAGE = Path(__file__).parents[1] / "groot_ros"


def test_the_package_keeps_its_layers():
    assert violations(PACKAGE) == []


def test_the_layers_have_no_cycle():
    above = dict(MAY_IMPORT)
    while above:
        lowest = {room for room, below in above.items() if not below & above.keys()}
        assert lowest, f"a cycle among {sorted(above)}"
        above = {room: below for room, below in above.items() if room not in lowest}


@pytest.fixture
def plant(tmp_path):
    """Violations of a package that has one file with one line of source."""

    def planted(path: str, source: str) -> list[str]:
        file = tmp_path / "groot_ros" / path
        file.parent.mkdir(parents=True)
        file.write_text(source)
        return violations(tmp_path / "groot_ros")

    return planted


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("types/a.py", "import groot_ros.robot", "types may import only nothing"),
        ("types/a.py", "from groot_ros.robot import Joint", "types may import only nothing"),
        ("types/a.py", "from groot_ros import robot", "types may import only nothing"),
        ("types/a.py", "from ..robot import Joint", "types may import only nothing"),
        ("types/a.py", "from .. import robot", "types may import only nothing"),
        ("robot/deep/a.py", "from ...control import x", "robot may import only types"),
        ("robot/a.py", "def f():\n    import groot_ros.bridge", "robot may import only types"),
        ("control/a.py", "from groot_ros.processing import x", "may import only robot, types"),
        ("models/a.py", "from groot_ros.runtime import x", "may import only robot, types"),
        ("runtime/a.py", "import groot_ros.policy", "runtime may import only"),
        ("policy.py", "from groot_ros.bags import x", "policy may import only"),
        ("bags/a.py", "from groot_ros.sim import x", "bags may import only"),
        ("sim/a.py", "from groot_ros.training import x", "sim may import only"),
        ("bridge/a.py", "from groot_ros.control import x", "bridge may import only robot, types"),
        ("bridge/a.py", "import groot_ros.nodes.run", "nothing imports nodes"),
        ("cli/a.py", "from groot_ros.nodes import run", "nothing imports nodes"),
        ("bringup.py", "import groot_ros.nodes", "nothing imports nodes"),
        ("sim/a.py", "from groot_ros.bringup import x", "nothing imports bringup"),
        ("nodes/a.py", "from groot_ros.cli import x", "nothing imports cli"),
        ("share.py", "from groot_ros.types import x", "share may import only nothing"),
        ("robot/a.py", "import rclpy", "ROS belongs into bridge and nodes"),
        ("sim/a.py", "from sensor_msgs.msg import Image", "ROS belongs into bridge and nodes"),
        ("bags/a.py", "from groot_ros.msg import ActionChunk", "ROS belongs into bridge"),
        ("cli/a.py", "from groot_ros import srv", "ROS belongs into bridge and nodes"),
        ("control/a.py", "from rclpy.node import Node", "ROS belongs into bridge and nodes"),
        ("types/a.py", "import torch", "types must run without torch"),
        ("robot/a.py", "from torch import nn", "robot must run without torch"),
        ("control/a.py", "import torch.nn.functional as F", "control must run without torch"),
        ("bridge/a.py", "def f():\n    import torch", "bridge must run without torch"),
        ("attic/a.py", "import groot_ros.types", "'attic' is not a room"),
    ],
)
def test_a_planted_violation_is_found(plant, path, source, problem):
    (found,) = plant(path, source)
    assert path in found
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("types/a.py", "import numpy\nfrom groot_ros.types.time import s_to_ns"),
        ("types/a.py", "from . import time\nfrom .time import s_to_ns"),
        ("robot/a.py", "from groot_ros.types import ActionKind"),
        ("models/a.py", "import torch"),
        ("policy.py", "from groot_ros.runtime import x\nimport groot_ros.processing"),
        ("sim/a.py", "from groot_ros.policy import load_policy"),
        ("bridge/a.py", "import rclpy\nfrom std_msgs.msg import String\nimport groot_ros.msg"),
        ("nodes/a.py", "import torch, rclpy\nfrom groot_ros.control import x"),
        ("cli/a.py", "from groot_ros.bringup import x\nfrom groot_ros import __version__"),
        ("bags/a.py", "from groot_ros.share import share_directory"),
    ],
)
def test_what_the_layers_allow_is_not_reported(plant, path, source):
    assert plant(path, source) == []
