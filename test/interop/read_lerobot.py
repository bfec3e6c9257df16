# SPDX-License-Identifier: Apache-2.0
"""Read a data set of v3.0 with LeRobot's own code; run by the Python of .venv-interop.

read_lerobot.py DATASET OUT.npz
"""

import sys

import numpy as np
import torch

# torchvision describes these two operators, which its compiled part defines. That is not loaded: it
# is made for another torch, and reading videos with PyAV does not use it.
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from ledataset.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402


def main(path: str, out: str) -> None:
    """Read every row with its images, and write them as arrays."""
    dataset = LeRobotDataset("local/interop", root=path, video_backend="pyav")
    rows = [dataset[index] for index in range(len(dataset))]
    columns = {}
    for name in rows[0]:
        if name.startswith("observation.images."):
            frames = [(255 * row[name]).round().to(torch.uint8).numpy() for row in rows]
            columns[name] = np.stack(frames).transpose(0, 2, 3, 1)
        elif name == "task":
            columns[name] = np.array([row[name] for row in rows])
        else:
            columns[name] = np.stack([row[name].numpy() for row in rows])
    np.savez(out, **columns)


if __name__ == "__main__":
    main(*sys.argv[1:])
