# SPDX-License-Identifier: Apache-2.0
"""Run one node in this process: `python -m groot_ros.nodes policy_node --ros-args ...`."""

import importlib
import signal
import sys

from groot_ros.core.config import module_names


def main(name: str) -> None:
    """Import and run the node of this name."""
    # Until the node installs its handlers it only imports: Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    importlib.import_module(f"groot_ros.nodes.{name}").main()


if __name__ == "__main__":
    nodes = [name for name in module_names("nodes") if name.endswith("_node")]
    if sys.argv[1:2] and sys.argv[1] in nodes:
        main(sys.argv.pop(1))
    else:
        sys.exit(f"usage: python -m groot_ros.nodes {{{','.join(nodes)}}} [--ros-args ...]")
