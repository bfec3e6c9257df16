# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine`: export, build, validate and benchmark engines on this machine."""

import argparse

from groot_ros.cli import add_actions, add_command
from groot_ros.cli.engine import benchmark, build, calibrate, export, make, validate

_EXAMPLES = """examples:
  groot-ros engine make --checkpoint ~/pick --embodiment new_embodiment --robot so101 \\
      --precision bfloat16                       # all of the following
  groot-ros engine export --checkpoint ~/pick --embodiment new_embodiment --precision float16 \\
      --segments context denoise --engine-directory engines/pick_head
  groot-ros engine calibrate --engine-directory engines/pick_head --quantise int8 \\
      --bag ~/bags/run1 --robot so101 --segments denoise
  groot-ros engine build --engine-directory engines/pick_head
  groot-ros engine validate --engine-directory engines/pick_head --engine tensorrt --robot so101
  groot-ros engine benchmark --engine-directory engines/pick_head --row

Then: groot-ros up --checkpoint ~/pick ... with the parameters engine and engine_directory,
or groot-ros infer --engine auto --engine-directory engines/pick_head.
docs/how-to/engines.md describes each step and which precision to choose.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros engine` and of its actions."""
    description = "Export a checkpoint, then build, validate and benchmark engines on this machine."
    parser = add_command(subparsers, "engine", description, _EXAMPLES)
    actions = add_actions(parser)
    for action in (export, calibrate, build, validate, benchmark, make):
        action.add(actions)
