# SPDX-License-Identifier: Apache-2.0
"""Data sets read and judged by LeRobot's own code, which `make interop` installs."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.robot_bags import RobotRun, smooth_image

from groot_ros.core.share import robot_path
from groot_ros.datasets.combine import merge_datasets
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.rows import RowSettings

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-interop" / "bin" / "python"
READER = Path(__file__).parent / "read_lerobot.py"

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="`make interop` installs LeRobot"),
]


def run_there(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command with the Python of .venv-interop, without our packages on its path."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(PYTHON), *(str(word) for word in words)],
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def v21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    texts = ((0.0, "touch the red cube"), (2.0, "touch the blue cube"))
    bags = [RobotRun(seconds=4.0, instructions=texts).write(folder / f"bag{i}") for i in range(3)]
    settings = ConversionSettings(RowSettings(fps=0), robot_path("so101"))
    convert_bags(bags, folder / "v21", settings, jobs=1)
    return folder / "v21"


@pytest.fixture(scope="module")
def v3(v21: Path) -> Path:
    out = v21.parent / "v3"
    merge_datasets([v21], out, "v3.0")
    return out


def test_lerobot_reads_all_frames_of_v3_within_the_error_of_the_codec(v21, v3) -> None:
    out = v3.parent / "read.npz"
    ran = run_there(READER, v3, out)
    assert ran.returncode == 0, ran.stderr
    read = np.load(out)
    episodes = Dataset(v21).episodes
    first = 0
    for episode in episodes:
        own = slice(first, first + episode.length)
        first += episode.length
        for name in ("observation.state", "action", "stamp_ns", "timestamp", "next.success"):
            np.testing.assert_array_equal(read[name][own].squeeze(), episode.column(name))
        assert set(read["episode_index"][own].tolist()) == {episode.number}
        assert read["task"][own].tolist() == list(episode.instructions())
        stamps = episode.column("stamp_ns").tolist()
        for view in ("front", "wrist"):
            frames = read[f"observation.images.{view}"][own]
            for rgb, stamp in zip(frames, stamps, strict=True):
                sent = smooth_image(stamp).data.reshape(rgb.shape)
                error = np.mean((rgb.astype(float) - sent) ** 2)
                assert 10 * np.log10(255**2 / error) > 35
    assert first == len(read["index"]) == 6 * 60


@pytest.mark.parametrize("layout", ["v21", "v3"])
def test_lerobot_doctor_finds_no_error(layout: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(layout)
    ran = run_there("-m", "lerobot_doctor.cli", "check", path, "--ci")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["summary"]["FAIL"] == 0
    assert "0 fail" in ran.stderr
