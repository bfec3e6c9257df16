"""The graph recorded with rosbag2's own command, where it is installed.

`groot-ros bag record` (bringup.record_graph) needs no rosbag2 and writes the same topics.
"""

from collections.abc import Mapping
from pathlib import Path

from groot_ros.bags.topics import graph_topics
from groot_ros.bringup.node_graph import Argument, checked, checked_namespace, namespace_root
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

#: Of launch/record.launch.py.
RECORD_ARGUMENTS = (
    Argument("robot", "so101", "Robot contract: a shipped name or the path of a YAML file"),
    Argument("output", "", "Directory of the bag; must not exist"),
    Argument("namespace", "", "Namespace of the graph"),
    Argument("use_sim_time", "false", "Follow and record /clock", ("true", "false")),
)


def rosbag2_command(values: Mapping[str, str], distro: str) -> list[str]:
    """What records the same topics with rosbag2's own command.

    Args:
        values: argument name -> value, of RECORD_ARGUMENTS; a ~ is expanded, which bash does not
            do behind `output:=`.
        distro: Humble takes topics by position alone, what comes after Jazzy by option alone.

    Raises:
        ValueError: one line, naming the argument and how to mend it.

    """
    values = checked(values, RECORD_ARGUMENTS)
    if not values["output"]:
        raise ValueError("output is not set: give the directory of the bag")
    sim_time = values["use_sim_time"] == "true"
    topics = graph_topics(load_contract(robot_path(values["robot"])), use_sim_time=sim_time)
    root = namespace_root(checked_namespace(values["namespace"]))
    command = ["ros2", "bag", "record", "--storage", "mcap"]
    command += ["--output", str(Path(values["output"]).expanduser())]
    command += ["--use-sim-time"] if sim_time else []
    command += [] if distro == "humble" else ["--topics"]
    return command + [t if t.startswith("/") else f"{root.rstrip('/')}/{t}" for t in topics]
