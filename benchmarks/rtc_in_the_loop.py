# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking in the demo's closed loop: the same run once for each rtc.mode.

    python -m benchmarks.rtc_in_the_loop [--seconds 45] [--modes off native guided]

Each run is `groot-ros demo` with the embedded checkpoint and a new cube every 5 s. All values are
computed from its bag.

    reached        instructions after which the hand came within 20 mm of the touch point
    after          time from the instruction's first chunk until then, s: median
    acc            acceleration of the committed motion, rad/s2, all arm joints: p95 and p99.5
    splice         old minus new position at a splice, rad, largest arm joint: median and p95
    frozen         leading steps of a chunk that repeat committed motion: median
    image->chunk   time from the observation to the receipt of its chunk, s: p95
    jitter         jitter of the executor's timer: p99
"""

import argparse
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
from groot_ros.evaluation.run_log import read_run
from groot_ros.evaluation.run_metrics import commanded_curves
from groot_ros.evaluation.run_records import RunLog
from groot_ros.evaluation.table import format_table
from groot_ros.sim import JOINTS
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.tasks.touch import instructed_cube, place_cubes, touch_point

#: m: distance from the touch point below which it counts as reached.
_REACHED = 0.02
#: Joints without the gripper, which is last and is not blended.
_ARM = JOINTS[:-1]
_SEED = 0


def record(mode: str, seconds: float, out: Path) -> Path:
    """Run the demo in this mode and return the path of its bag."""
    parameters = out / f"{mode}.yaml"
    parameters.write_text(f"/**/policy_node:\n  ros__parameters:\n    rtc.mode: '{mode}'\n")
    command = [sys.executable, "-m", "groot_ros.cli", "demo", "--params-file", str(parameters)]
    command += ["--seconds", str(seconds), "--out", str(out / mode), "--seed", str(_SEED)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out / mode / "bag"


def row(mode: str, bag: Path) -> list[str]:
    """Return one row of the table."""
    log = read_run(bag)
    times = reach_times(log)
    reached = [t for t in times if np.isfinite(t)]
    seams, frozen = _seams_and_frozen_steps(bag)
    late = np.quantile([c.received - c.t_obs for c in log.chunks], 0.95)
    return [
        mode,
        f"{len(reached)} of {len(times)}",
        f"{np.median(reached):.2f} s" if reached else "-",
        " / ".join(f"{a:.1f}" for a in np.quantile(np.abs(_accelerations(log)), [0.95, 0.995])),
        f"{np.median(seams):.4f} / {np.quantile(seams, 0.95):.4f}",
        f"{np.median(frozen):.0f}",
        f"{late:.3f} s",
        log.timing.get("jitter p99", "-"),
        str(len(log.chunks)),
    ]


def reach_times(log: RunLog) -> list[float]:
    """Return the time in s until the hand reaches the touch point of each instruction.

    It is inf if the hand never reaches it. The last instruction is left out if it had at most 4 s.
    """
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes(np.random.default_rng(_SEED)))
    cubes = arm.cubes
    stamps = log.joints[JOINTS[0]][:, 0]
    joints = np.stack([log.joints[name][:, 1] for name in JOINTS], axis=1)
    begins = [
        (chunk.received, chunk.instruction)
        for before, chunk in zip([None, *log.chunks], log.chunks, strict=False)
        if before is None or chunk.instruction != before.instruction
    ]
    found = []
    for (begin, instruction), end in zip(
        begins, [*(b for b, _ in begins[1:]), log.chunks[-1].received], strict=True
    ):
        cube = instructed_cube(instruction)
        assert cube is not None
        target = touch_point(cubes[cube])
        inside = (stamps >= begin) & (stamps < end)
        distances = [np.linalg.norm(_grasp_point(arm, q) - target) for q in joints[inside][::5]]
        near = np.flatnonzero(np.array(distances) < _REACHED)
        found.append(float(stamps[inside][::5][near[0]] - begin) if len(near) else np.inf)
    # The last instruction may have had too little time.
    return found if log.chunks[-1].received - begins[-1][0] > 4.0 else found[:-1]


def _grasp_point(arm: SimulatedArm, joints: NDArray[np.float64]) -> NDArray[np.float64]:
    import mujoco

    for name, position in zip(JOINTS, joints, strict=True):
        arm.data.qpos[arm.model.joint(name).qposadr[0]] = position
    mujoco.mj_kinematics(arm.model, arm.data)
    return arm.data.site("grasp").xpos.copy()


def _accelerations(log: RunLog) -> NDArray[np.float64]:
    """Return the acceleration of the committed motion every 10 ms, [M, arm joints] rad/s2."""
    curves = commanded_curves(log)
    times = curves[_ARM[0]][:, 0]
    grid = np.arange(times[0], times[-1], 0.01)
    even = np.stack([np.interp(grid, *curves[name].T) for name in _ARM], axis=1)
    # Differences over 50 ms, as rows are 17 ms apart and interpolated linearly in between.
    return (even[10:] - 2.0 * even[5:-5] + even[:-10]) / 0.05**2


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
    parser.add_argument(
        "--seconds", type=float, default=45.0, help="duration of each run (%(default)s)"
    )
    parser.add_argument("--modes", nargs="+", default=["off", "native", "guided"])
    options = parser.parse_args(arguments)
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(m, record(m, options.seconds, Path(folder))) for m in options.modes]
    header = ["rtc.mode", "reached", "after", "acc", "splice p50 / p95"]
    print(format_table([*header, "frozen", "image->chunk", "jitter", "chunks"], rows))


if __name__ == "__main__":
    main()
