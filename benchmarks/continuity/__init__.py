"""What chunks become: five ways to execute them, through the ported controllers with servo lag.

    python -m benchmarks.continuity [--seeds 10] [--pictures docs/images]

Two policies. The *synthetic* one proposes a three-joint motion of 6 s (that of the measurement on
the real controller) in chunks of 16 steps at 30 Hz, each off by a constant N(0, 20 mrad) per
joint: a policy that never quite agrees with itself. The *recorded* one is the demo checkpoint
driving the simulated arm (see `record`): what is intended there is the mean of all the chunks that
cover an instant.

A chunk is asked for every 0.2 s or when the last is done; it comes late, and some do not come.
With real-time chunking either policy has its own chunk as the denoised end point, which makes of N
guided steps exactly chunk + W (committed - chunk): no network smooths it, the hardest case.

Commands are taken at 250 Hz. "x" is a multiple of the intended motion's own figure.
"""

from benchmarks.continuity.report import main

__all__ = ["main"]
