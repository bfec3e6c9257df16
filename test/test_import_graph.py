# SPDX-License-Identifier: Apache-2.0
"""The layers of the package, and the page that documents them."""

from pathlib import Path

import pytest
from support.import_graph import (
    ASSEMBLY,
    BEGIN,
    END,
    LAYERS,
    PAGE,
    cycle,
    module_graph,
    table,
    violations,
)

PACKAGE = Path(__file__).parents[1] / "groot_ros"


def test_the_package_keeps_its_layers():
    assert violations(PACKAGE) == []


def test_the_layers_have_no_cycle():
    packages = {
        name: {other.partition(".")[0] for other in layer.may_import}
        for name, layer in LAYERS.items()
    }
    assert cycle(packages) == []


def test_no_modules_import_each_other_not_even_for_types_or_lazily():
    assert cycle(module_graph(PACKAGE)) == []


def test_the_architecture_page_has_the_table_of_these_layers():
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == table(), "run: python test/support/import_graph.py --write"


def test_every_package_is_a_layer():
    here = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert here == LAYERS.keys() | ASSEMBLY.keys() | {"nodes"}


@pytest.fixture
def plant(tmp_path):
    """Return the violations of a package that has one file with this source."""

    def planted(path: str, source: str) -> list[str]:
        file = tmp_path / "groot_ros" / path
        file.parent.mkdir(parents=True)
        file.write_text(source)
        return violations(tmp_path / "groot_ros")

    return planted


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("core/a.py", "import groot_ros.robot", "core may import only nothing"),
        ("core/a.py", "from groot_ros import robot", "core may import only nothing"),
        ("core/a.py", "from ..robot import Joint", "core may import only nothing"),
        ("core/a.py", "from .. import robot", "core may import only nothing"),
        ("robot/deep/a.py", "from ...control import x", "robot may import only core"),
        ("robot/a.py", "def f():\n    import groot_ros.bridge", "robot may import only core"),
        ("robot/a.py", "from groot_ros.vision import compressed", "robot may import only core"),
        ("control/a.py", "from groot_ros.processing import x", "may import only core, robot"),
        ("layers/a.py", "from groot_ros.families.family import x", "layers may import only core"),
        ("runtime/a.py", "from groot_ros.families.family import x", "runtime may import only"),
        ("runtime/a.py", "import groot_ros.policy", "runtime may import only checkpoint, core"),
        (
            "families/gr00t_n1d6/a.py",
            "from groot_ros.runtime.engine import x",
            "families may import only",
        ),
        ("policy/a.py", "import groot_ros.families.gr00t_n1d6", "policy may import only"),
        (
            "families/gr00t_n1d5/a.py",
            "from groot_ros.families.gr00t_n1d6.config import x",
            "families do not import each other",
        ),
        (
            "families/gr00t/a.py",
            "def f():\n    import groot_ros.families.gr00t_n1d6",
            "families do not import each other",
        ),
        (
            "nodes/a.py",
            "from groot_ros.families.gr00t_n1d6 import x",
            "families is imported through family, registry and training only",
        ),
        (
            "cli/a.py",
            "def f():\n    from groot_ros.families.gr00t_n1d6.config import x",
            "families is imported through family, registry and training only",
        ),
        ("bags/a.py", "from groot_ros.sim import x", "bags may import only"),
        ("bridge/a.py", "from groot_ros.control import x", "bridge may import only control.set"),
        ("bridge/a.py", "import groot_ros.control.settings_file", "bridge may import only"),
        ("vision/a.py", "from groot_ros.robot import x", "vision may import only core"),
        ("bridge/a.py", "import groot_ros.nodes.run", "no package imports nodes"),
        ("cli/a.py", "from groot_ros.nodes import run", "no package imports nodes"),
        ("sim/a.py", "from groot_ros.bringup import x", "only bringup, cli import bringup"),
        ("nodes/a.py", "from groot_ros.cli import x", "only bringup, cli import cli"),
        ("robot/a.py", "import rclpy", "only bridge and nodes import ROS"),
        ("sim/a.py", "from sensor_msgs.msg import Image", "only bridge and nodes import ROS"),
        ("bags/a.py", "from groot_ros.msg import ActionChunk", "only bridge and nodes import"),
        ("cli/a.py", "from groot_ros import srv", "only bridge and nodes import ROS"),
        ("core/a.py", "import torch", "core must run without torch"),
        ("control/a.py", "import torch.nn.functional as F", "control must run without torch"),
        ("bridge/a.py", "def f():\n    import torch", "bridge must run without torch"),
        ("attic/a.py", "import groot_ros.core", "'attic' is not in LAYERS"),
    ],
)
def test_a_planted_violation_is_found(plant, path, source, problem):
    (found,) = plant(path, source)
    assert path in found
    assert problem in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/a.py", "import numpy\nfrom groot_ros.core.time import s_to_ns"),
        ("core/a.py", "from . import time\nfrom .time import s_to_ns"),
        ("core/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("robot/a.py", "from groot_ros.vision.encodings import ENCODINGS"),
        ("families/a.py", "import torch\nfrom groot_ros.layers import dit"),
        ("families/gr00t_n1d5/a.py", "from groot_ros.families.gr00t.weights import x"),
        ("families/gr00t/a.py", "from groot_ros.families.family import x"),
        ("policy/a.py", "from groot_ros.families.registry import find_family"),
        ("bridge/a.py", "from groot_ros.control.settings import ExecutorConfig"),
        ("bridge/a.py", "import rclpy\nfrom std_msgs.msg import String\nimport groot_ros.msg"),
        ("nodes/a.py", "import torch, rclpy\nfrom groot_ros.control import x"),
        (
            "cli/a.py",
            "from groot_ros.bringup.supervisor import x\nfrom groot_ros import __version__",
        ),
    ],
)
def test_an_import_that_the_layers_allow_is_not_reported(plant, path, source):
    assert plant(path, source) == []


def test_a_cycle_for_types_only_is_found(tmp_path):
    package = tmp_path / "groot_ros" / "core"
    package.mkdir(parents=True)
    (package / "a.py").write_text("from groot_ros.core import b\n")
    (package / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from groot_ros.core import a\n"
    )
    found = cycle(module_graph(tmp_path / "groot_ros"))
    assert found == ["groot_ros.core.a", "groot_ros.core.b", "groot_ros.core.a"]
