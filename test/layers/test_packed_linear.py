# SPDX-License-Identifier: Apache-2.0
"""Regressions pinned: a model fused layer by layer kept 0.8 GB of the memory that it had freed."""

import ctypes
from pathlib import Path

import pytest
import torch

from groot_ros.layers.packed_linear import release_heap


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc here")
def test_freed_blocks_between_live_ones_return_to_the_system() -> None:
    blocks = [torch.ones(1 << 20) for _ in range(100)]
    kept = blocks[1::2]
    del blocks
    release_heap()
    before = resident()
    dropped, kept[:25] = kept[:25], []
    del dropped
    release_heap()
    assert before - resident() > 25 * 2**22 * 0.9
