"""Regressions pinned: a model fused layer by layer kept 0.8 GB of what it had left behind."""

import ctypes
from pathlib import Path

import pytest
import torch

from groot_ros.runtime.heap import give_back


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc here")
def test_freed_blocks_between_live_ones_go_back_to_the_system():
    blocks = [torch.ones(1 << 20) for _ in range(100)]
    kept = blocks[1::2]
    del blocks
    give_back()
    before = resident()
    dropped, kept[:25] = kept[:25], []
    del dropped
    give_back()
    assert before - resident() > 25 * 2**22 * 0.9
