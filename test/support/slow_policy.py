# SPDX-License-Identifier: Apache-2.0
"""The policy node's process with a model that never finishes loading, in C++ like a real one."""

import torch

from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.nodes.run import run


def load(*_, **__):
    print("loading", flush=True)
    ones = torch.ones(1000, 1000)
    while True:
        ones = ones @ ones


run(lambda: PolicyNode(load), threads=4)
