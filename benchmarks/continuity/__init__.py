# SPDX-License-Identifier: Apache-2.0
"""Continuity of the executed motion: five methods on the ported controllers with servo lag.

    python -m benchmarks.continuity [--seeds 10] [--pictures docs/images]

There are two policies. The *synthetic* one proposes a three-joint motion of 6 s (the one measured
on the real controller) in chunks of 16 steps at 30 Hz. Each chunk has a constant offset N(0, 20
mrad) per joint, so consecutive chunks never agree. The *recorded* one is
`recorded_chunks.npz`: 240 chunks, one every 0.1 s, that an earlier demo checkpoint proposed for six
instructions of 4 s to the simulated SO-101. The file has the keys joints (names), dt (s), interval
(s) and chunks [240, 16, 6] (rad). The intended motion is the weighted mean of all chunks that cover
a time.

A chunk is requested every 0.2 s, or when the previous one is done; chunks arrive late, and some are
lost. With real-time chunking, both policies take their own chunk as the denoised end point, so that
N guided steps result in exactly chunk + W (committed - chunk). No network smooths the result, which
is the hardest case.

Commands are sampled at 250 Hz. "x" marks multiples of the value of the intended motion.
"""

from benchmarks.continuity.report import main

__all__ = ["main"]
