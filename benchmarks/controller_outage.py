# SPDX-License-Identifier: Apache-2.0
"""Largest step of a command after an outage of a controller.

`PYTHONPATH=test python -m benchmarks.controller_outage` prints the table of the faults page.

A policy that sees the robot moves it at up to 1.9 rad/s through the simulated
joint_trajectory_controller at 250 Hz, which is deactivated and activated again at ten phases of the
motion. The limit of the joints is 3 rad/s, 12 mrad in a control cycle.
"""

import argparse

import numpy as np
from support.controller_bench import ControllerBench, sine

#: Lengths of the outages, s.
LENGTHS = (0.004, 0.02, 0.05, 0.09, 0.1, 0.108, 0.12, 0.2, 0.3, 1.0, 3.0, 10.0)


def main() -> None:
    """Print a table of the largest steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phases", type=int, default=10, help="outages of each length")
    phases = np.linspace(0.0, 2.0, parser.parse_args().phases, endpoint=False)
    print("| outage, s | messages take 2 ms | 12 ms |\n|---|---|---|")
    for length in LENGTHS:
        steps = []
        for delay in (0.002, 0.012):
            worst = 0.0
            for phase in phases:
                bench = ControllerBench(sine(), delay=delay)
                bench.run(1.0 + phase)
                bench.arm.deactivate()
                bench.run(length)
                bench.arm.activate()
                since = bench.t
                bench.run(1.0)
                worst = max(worst, bench.largest_step(since))
            steps.append(f"{1e3 * worst:.0f} mrad")
        print(f"| {length:g} | {' | '.join(steps)} |", flush=True)


if __name__ == "__main__":
    main()
