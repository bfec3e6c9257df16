# SPDX-License-Identifier: Apache-2.0
"""Record the run of test/data/golden_run with the real nodes, and evaluate it once.

    . ./env.sh && python test/support/record_golden_run.py

replaces the bag and golden.json. Run it when the demo checkpoint or a message has changed on
purpose, and say so in the commit.
"""

import json
import shutil
import sys
from pathlib import Path

from groot_ros.core.share import DEMO_ROBOT, demo_checkpoint, robot_path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "test" / "data" / "golden_run"
#: Options of the evaluation, in the test as well.
OPTIONS = (
    "--checkpoint",
    str(demo_checkpoint()),
    "--embodiment",
    "new_embodiment",
    "--engine",
    "torch",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--seeds",
    "2",
)
CHUNKS = 14


def record(bag: Path) -> None:
    """Record until the robot has received CHUNKS chunks."""
    from groot_ros.nodes.recorder_node import RecorderNode
    from support.policy_stage import wait_until
    from support.robot_world import World

    # The bag contains the path of the contract: one that says nothing about this machine.
    robot = Path(f"/tmp/groot_ros_golden_run/{DEMO_ROBOT}.yaml")
    shutil.rmtree(robot.parent, ignore_errors=True)
    shutil.copytree(robot_path(DEMO_ROBOT).parent, robot.parent)
    world = World(
        robot.with_suffix(""),
        demo_checkpoint(),
        RecorderNode,
        output=bag,
        compression="zstd",
        instruction="touch the red cube",
        image_width=128,
        image_height=128,
        rate_hz=5.0,
    )
    (recorder,) = world.more
    try:
        world.start()
        wait_until(lambda: recorder.counts.get("/action_chunk", 0) >= CHUNKS, "chunks")
    finally:
        world.end()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "test"))
    from groot_ros.bridge.isolated_domain import use_isolated_domain
    from groot_ros.cli.main import main

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with use_isolated_domain():
        record(FOLDER / "bag")
    golden = FOLDER / "golden.json"
    out = FOLDER / "report"
    written = ["--json", str(golden), "--out", str(out)]
    status = main(["evaluate", str(FOLDER / "bag"), *OPTIONS, *written])
    shutil.rmtree(out)
    content = json.loads(golden.read_text())
    del content["times"]
    golden.write_text(json.dumps(content) + "\n")
    sys.exit(status)
