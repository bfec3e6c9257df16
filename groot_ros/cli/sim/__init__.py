# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim`: collect data of scripted experts in the simulator, and judge policies in it."""

import argparse

from groot_ros.cli import add_actions, add_command
from groot_ros.cli.sim import collect, evaluate

_EXAMPLES = """examples:
  groot-ros sim collect --task reach --episodes 200 --out ~/data/reach
  groot-ros sim collect --task reach --episodes 100 --checkpoint ~/reach --out ~/data/round1
  groot-ros sim collect --task push --episodes 50 --bags --out ~/bags/push
  groot-ros sim collect --task vima/put_into --episodes 5000 --out ~/data/put_into
  groot-ros sim evaluate --task pick_place --episodes 100 --policy expert
  groot-ros sim evaluate --task reach --episodes 100 --checkpoint ~/reach --json reach.json
  groot-ros sim evaluate --task reach --episodes 40 --checkpoint ~/reach --sweep delay=0,0.1,0.2,0.4
  groot-ros sim evaluate --task reach --episodes 100 --checkpoint ~/reach --sweep steps=1,2,4
  groot-ros sim evaluate --task reach --episodes 5 --checkpoint ~/reach --real-nodes --lockstep
  groot-ros sim evaluate --task push --episodes 10 --checkpoint ~/push --videos out/failures
  groot-ros sim evaluate --task vima/rotate --level combination --episodes 100 --checkpoint ~/vima

Scenes of `evaluate` are never scenes of `collect`, whatever the seeds.
Exit status: 0 done; 1 an episode could not be run; 2 wrong usage.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros sim`."""
    parser = add_command(
        subparsers, "sim", "Collect data in the simulator, and judge policies in it.", _EXAMPLES
    )
    actions = add_actions(parser)
    collect.add(actions)
    evaluate.add(actions)
