"""The process of one node: `python -m groot_ros.nodes policy_node --ros-args ...`."""

import importlib
import signal
import sys


def main(name: str) -> None:
    """Run the node of this name."""
    # Until it has handlers of its own a node only imports: Ctrl-C ends it at once, without a trace.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    importlib.import_module(f"groot_ros.nodes.{name}").main()


if __name__ == "__main__":
    main(sys.argv.pop(1))
