# SPDX-License-Identifier: Apache-2.0
"""Record the chunks that the demo checkpoint proposes while it drives the simulated arm.

    python -m benchmarks.continuity.record [--checkpoint checkpoints/so101_demo]

It records six instructions of 4 s each, with a chunk every 0.1 s of simulated time. This takes less
than half a minute on one CPU core. The file has 80 kB and is part of the repository.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECORDING = Path(__file__).parent / "so101_demo.npz"
#: s: time between recorded chunks.
INTERVAL = 0.1


def record(checkpoint: Path, out: Path) -> int:
    """Record chunks and write them to `out`; return their number.

    The npz file has the keys joints (names), dt (s), interval (s) and chunks [count, 16, 6] (rad).
    """
    import torch

    from groot_ros.core import PolicyConfig
    from groot_ros.core.share import robot_path
    from groot_ros.policy import load_policy
    from groot_ros.robot import load_contract
    from groot_ros.sim import JOINTS
    from groot_ros.sim.closed_loop import drive
    from groot_ros.sim.tasks.touch import INSTRUCTIONS
    from groot_ros.training.demo_checkpoint import TAG, as_chunk_policy

    torch.set_num_threads(1)
    contract = load_contract(robot_path("so101"))
    config = PolicyConfig(checkpoint=str(checkpoint), embodiment=TAG, device="cpu", engine="torch")
    policy = load_policy(config, robot=contract)
    propose = as_chunk_policy(policy, contract)
    chunks: list[NDArray[np.float64]] = []

    def recording(
        images: Mapping[str, NDArray[np.uint8]], joints: NDArray[np.float64], instruction: str
    ) -> NDArray[np.float64]:
        chunks.append(propose(images, joints, instruction))
        return chunks[-1]

    try:
        instructions = [INSTRUCTIONS[i] for i in (0, 1, 2, 0, 2, 1)]
        drive(recording, instructions, seconds=4.0, interval=INTERVAL, dt=policy.dt)
    finally:
        policy.close()
    np.savez_compressed(
        out,
        joints=np.array(JOINTS),
        dt=policy.dt,
        interval=INTERVAL,
        chunks=np.array(chunks, dtype=np.float32),
    )
    return len(chunks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/so101_demo"))
    parser.add_argument("--out", type=Path, default=RECORDING)
    arguments = parser.parse_args()
    print(f"{record(arguments.checkpoint, arguments.out)} chunks: {arguments.out}")
