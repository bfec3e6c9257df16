"""Continuity of the executed motion: five methods, on the ported controllers with servo lag.

    python -m benchmarks.continuity [--seeds 10] [--pictures docs/images]

There are two policies. The *synthetic* one proposes a three-joint motion of 6 s (the one measured
on the real controller) in chunks of 16 steps at 30 Hz, each with a constant offset N(0, 20 mrad)
per joint: a policy whose chunks never agree. The *recorded* one is the demo checkpoint on the
simulated arm (see `record`); its intended motion is the mean of all the chunks that cover a time.

A chunk is requested every 0.2 s, or when the last one is done; chunks arrive late, and some are
lost. With real-time chunking, either policy takes its own chunk as the denoised end point, so that
N guided steps result in exactly chunk + W (committed - chunk): no network smooths it, which is the
hardest case.

Commands are sampled at 250 Hz. "x" is a multiple of the value of the intended motion.
"""

from benchmarks.continuity.report import main

__all__ = ["main"]
