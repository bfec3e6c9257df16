# SPDX-License-Identifier: Apache-2.0
"""A data set with three episodes of two bags, made once; tests that change it copy it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.robot_bags import RobotRun, wave

from groot_ros.core.share import robot_path
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.rows import RowSettings


@dataclass(frozen=True)
class Made:
    """Bags, and the data set of their episodes."""

    bags: tuple[Path, Path]
    path: Path
    settings: ConversionSettings


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    texts = ((0.0, "touch the red cube"), (1.45, "touch the blue cube"))
    # Measured positions lag behind the commands.
    runs = [
        RobotRun(seconds=3.0, jitter=0.001, position=lambda t: wave(t - 0.05), instructions=texts),
        RobotRun(seconds=2.0, jitter=0.001, position=lambda t: wave(t - 0.05)),
    ]
    bags = [run.write(folder / f"bag{i}") for i, run in enumerate(runs)]
    settings = ConversionSettings(RowSettings(fps=0), robot_path("so101"))
    convert_bags(bags, folder / "data", settings, jobs=1)
    return Made((bags[0], bags[1]), folder / "data", settings)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """Return a copy of the data set that may be changed."""
    return Path(shutil.copytree(made.path, tmp_path / "copy"))
