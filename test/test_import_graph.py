import re
from pathlib import Path

import pytest
from support.import_graph import (
    ASSEMBLY,
    EVERYWHERE,
    MAY_IMPORT,
    ROS_ROOMS,
    WITHOUT_TORCH,
    violations,
)

PACKAGE = Path(__file__).parents[1] / "groot_ros"
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "architecture.md"


def test_the_package_keeps_its_layers():
    assert violations(PACKAGE) == []


def test_the_layers_have_no_cycle():
    above = dict(MAY_IMPORT)
    while above:
        lowest = {room for room, below in above.items() if not below & above.keys()}
        assert lowest, f"a cycle among {sorted(above)}"
        above = {room: below for room, below in above.items() if room not in lowest}


def rooms_in(text: str) -> set[str]:
    """The names in backticks, without what makes them a folder or a file."""
    return {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([^`]+)`", text)}


def table() -> list[tuple[set[str], str]]:
    """Rooms and what the architecture page says that they may import, row by row."""
    lines = PAGE.read_text(encoding="utf-8").split("| room |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [line.strip("|").split("|") for line in lines]
    return [(rooms_in(row[0]), row[-1].strip()) for row in cells]


def meant(words: str, above: set[str]) -> set[str]:
    """A cell of the table: names of rooms, or how the page says many of them at once."""
    if words in ("nothing", ""):
        return set()
    if words.startswith("the rooms above"):
        return above | meant(words.removeprefix("the rooms above").strip(", "), above)
    return set(words.split(", "))


def test_the_architecture_page_says_the_same_layers():
    said: dict[str, set[str]] = {}
    outermost: dict[str, str] = {}
    for rooms, words in table():
        if words.startswith("everything"):
            outermost |= dict.fromkeys(rooms, words)
        else:
            said |= dict.fromkeys(rooms, meant(words, set(said)))
    assert said == MAY_IMPORT
    assert outermost == {
        "nodes": f"everything but {', '.join(sorted(ASSEMBLY))}",
        **dict.fromkeys(ASSEMBLY, "everything but nodes"),
    }


def test_every_room_is_on_the_architecture_page():
    here = {p.stem for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert here - {"__init__", "__pycache__", "py"} == set().union(*(row[0] for row in table()))


def test_the_architecture_page_says_who_knows_ros_and_who_does_without_torch():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    (ros,) = re.findall(r"ROS is known only to ([^;.]*);", text)
    (any_room,) = re.findall(r"\| (`\S+`) \|[^|]*any room may ask", text)
    (torch,) = re.findall(r"torch is never imported by (.*?)\. ", text)
    assert rooms_in(ros) == ROS_ROOMS
    assert rooms_in(torch) == WITHOUT_TORCH
    assert rooms_in(any_room) == EVERYWHERE


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
        (
            "bridge/a.py",
            "from groot_ros.control import x",
            "bridge may import only control.set",
        ),
        ("bridge/a.py", "import groot_ros.control.settings_file", "bridge may import only"),
        ("evaluation/a.py", "from groot_ros.bridge import x", "evaluation may import only"),
        ("imaging/a.py", "from groot_ros.bridge import x", "imaging may import only types"),
        ("bridge/a.py", "import groot_ros.nodes.run", "nothing imports nodes"),
        ("cli/a.py", "from groot_ros.nodes import run", "nothing imports nodes"),
        ("bringup.py", "import groot_ros.nodes", "nothing imports nodes"),
        ("sim/a.py", "from groot_ros.bringup.node_graph import x", "nothing imports bringup"),
        ("nodes/a.py", "from groot_ros.cli import x", "nothing imports cli"),
        ("share.py", "from groot_ros.core import x", "share may import only nothing"),
        ("robot/a.py", "import rclpy", "ROS belongs into bridge and nodes"),
        ("sim/a.py", "from sensor_msgs.msg import Image", "ROS belongs into bridge and nodes"),
        ("bags/a.py", "from groot_ros.msg import ActionChunk", "ROS belongs into bridge"),
        ("cli/a.py", "from groot_ros import srv", "ROS belongs into bridge and nodes"),
        ("control/a.py", "from rclpy.node import Node", "ROS belongs into bridge and nodes"),
        ("types/a.py", "import torch", "types must run without torch"),
        ("robot/a.py", "from torch import nn", "robot must run without torch"),
        ("control/a.py", "import torch.nn.functional as F", "control must run without torch"),
        ("processing/a.py", "import torch", "processing must run without torch"),
        ("bridge/a.py", "def f():\n    import torch", "bridge must run without torch"),
        ("attic/a.py", "import groot_ros.core", "'attic' is not a room"),
    ],
)
def test_a_planted_violation_is_found(plant, path, source, problem):
    (found,) = plant(path, source)
    assert path in found
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("types/a.py", "import numpy\nfrom groot_ros.core.time import s_to_ns"),
        ("types/a.py", "from . import time\nfrom .time import s_to_ns"),
        ("robot/a.py", "from groot_ros.core import ActionKind"),
        ("models/a.py", "import torch"),
        ("policy.py", "from groot_ros.runtime import x\nimport groot_ros.processing"),
        ("sim/a.py", "from groot_ros.policy import load_policy"),
        ("bridge/a.py", "from groot_ros.control.settings import ExecutorConfig"),
        ("evaluation/a.py", "from groot_ros.vision.encodings import image_to_rgb"),
        ("bridge/a.py", "import rclpy\nfrom std_msgs.msg import String\nimport groot_ros.msg"),
        ("nodes/a.py", "import torch, rclpy\nfrom groot_ros.control import x"),
        (
            "cli/a.py",
            "from groot_ros.bringup.node_graph import x\nfrom groot_ros import __version__",
        ),
        ("bags/a.py", "from groot_ros.core.share import share_directory"),
    ],
)
def test_what_the_layers_allow_is_not_reported(plant, path, source):
    assert plant(path, source) == []
