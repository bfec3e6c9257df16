# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking in the demo's closed loop: the same run once for each rtc.mode.

    python -m benchmarks.rtc_in_the_loop [--scenes 9] [--modes off native guided]

Each run is `groot-ros demo` with the embedded checkpoint. All values are computed from its bag.

    fulfilled      scenes in which the robot did what it was told
    acc            acceleration of the committed motion, rad/s2, all arm joints: p95 and p99.5
    splice         old minus new position at a splice, rad, largest arm joint: median and p95
    frozen         leading steps of a chunk that repeat committed motion: median
    image->chunk   time from the observation to the receipt of its chunk, s: p95
    jitter         jitter of the executor's timer: p99
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.reader import open_bag
from groot_ros.bringup.node_graph import EPISODE_TOPIC
from groot_ros.core import ExecutorStatus
from groot_ros.core.share import DEMO_ROBOT, robot_path
from groot_ros.evaluation.run_log import read_run
from groot_ros.evaluation.run_metrics import commanded_curves, running_spans
from groot_ros.evaluation.run_records import RunLog
from groot_ros.evaluation.table import format_table
from groot_ros.robot import load_contract

#: Joints without the gripper, which is last and is not blended.
_ARM = load_contract(robot_path(DEMO_ROBOT)).joint_names[:-1]


def record(mode: str, scenes: int, out: Path) -> Path:
    """Run the demo in this mode and return the path of its bag."""
    parameters = out / f"{mode}.yaml"
    parameters.write_text(f"/**/policy_node:\n  ros__parameters:\n    rtc.mode: '{mode}'\n")
    command = [sys.executable, "-m", "groot_ros.cli", "demo", "--params-file", str(parameters)]
    command += ["--scenes", str(scenes), "--out", str(out / mode)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out / mode / "bag"


def row(mode: str, bag: Path) -> list[str]:
    """Return one row of the table."""
    log = read_run(bag)
    fulfilled = outcomes(bag)
    seams, frozen = _seams_and_frozen_steps(bag)
    late = np.quantile([c.received - c.t_obs for c in log.chunks], 0.95)
    return [
        mode,
        f"{sum(fulfilled)} of {len(fulfilled)}",
        " / ".join(f"{a:.1f}" for a in np.quantile(np.abs(_accelerations(log)), [0.95, 0.995])),
        f"{np.median(seams):.4f} / {np.quantile(seams, 0.95):.4f}",
        f"{np.median(frozen):.0f}",
        f"{late:.3f} s",
        log.timing.get("jitter p99", "-"),
        str(len(log.chunks)),
    ]


def outcomes(bag: Path) -> list[bool]:
    """Return for each scene whether the instruction was fulfilled."""
    fulfilled: dict[int, bool] = {}
    with open_bag(bag) as (reader, types):
        connections = [c for c in reader.connections if c.topic == f"/{EPISODE_TOPIC}"]
        for connection, _, raw in reader.messages(connections=connections):
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            state = json.loads(message.data)
            fulfilled[state["index"]] = state["success"]
    return list(fulfilled.values())


def _accelerations(log: RunLog) -> NDArray[np.float64]:
    """Return the acceleration of the committed motion every 10 ms, [M, arm joints] rad/s2.

    Between scenes, the robot is put elsewhere.
    """
    curves = commanded_curves(log)
    found = []
    for begin, end in running_spans(log, (ExecutorStatus.RUNNING,)):
        grid = np.arange(begin, end, 0.01)
        even = np.stack([np.interp(grid, *curves[name].T) for name in _ARM], axis=1)
        # Differences over 50 ms, as rows are 17 ms apart and interpolated linearly in between.
        found.append((even[10:] - 2.0 * even[5:-5] + even[:-10]) / 0.05**2)
    return np.concatenate(found)


def _seams_and_frozen_steps(bag: Path) -> tuple[list[float], list[int]]:
    seams: dict[int, float] = {}
    frozen = []
    with open_bag(bag) as (reader, types):
        message_types = ("groot_ros/msg/ExecutorState", "groot_ros/msg/ActionChunk")
        connections = [c for c in reader.connections if c.msgtype in message_types]
        for connection, _, raw in reader.messages(connections=connections):
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            if connection.msgtype.endswith("ActionChunk"):
                frozen.append(int(message.frozen_steps))
            elif message.chunk_id > 1:
                jumps = dict(zip(message.joint_names, message.splice_discontinuity, strict=True))
                seams[int(message.chunk_id)] = max(abs(jumps[name]) for name in _ARM)
    return list(seams.values()), frozen


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo in each mode and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.rtc_in_the_loop",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument("--scenes", type=int, default=9, help="scenes of each run (%(default)s)")
    parser.add_argument("--modes", nargs="+", default=["off", "native", "guided"])
    options = parser.parse_args(arguments)
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(m, record(m, options.scenes, Path(folder))) for m in options.modes]
    header = ["rtc.mode", "fulfilled", "acc", "splice p50 / p95"]
    print(format_table([*header, "frozen", "image->chunk", "jitter", "chunks"], rows))


if __name__ == "__main__":
    main()
