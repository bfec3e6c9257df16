# SPDX-License-Identifier: Apache-2.0
"""Graph of a replay: a player, a policy, and an executor in shadow, on the time of a bag.

A replay must never move a robot. Three things prevent it, each by itself: it runs in a domain that
no robot is in, the executor is in shadow, and commands of a bag are never played.
"""

import atexit
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from groot_ros.bags import input_topics
from groot_ros.bags.episode import EpisodeInfo, read_episode
from groot_ros.bringup.arguments import (
    ARGUMENTS,
    REPLAY_ARGUMENTS,
    absolute_namespace,
    real_number,
    require_namespace,
    resolve,
)
from groot_ros.bringup.node_graph import Graph, NodeProcess, policy_graph, recorder_process
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

_LOGGER = logging.getLogger("groot_ros.bringup")

#: Time in which a policy must become active, s: loading a large model takes minutes.
POLICY_TIMEOUT = 1800.0
#: Longest start offset, s.
_MAX_OFFSET = 1e6


def replay_graph(values: Mapping[str, str]) -> Graph:
    """Return the graph of policy, executor in shadow, and player.

    With `player` rosbag2 the player is not part of it, see `rosbag2_play_command`.

    Args:
        values: of REPLAY_ARGUMENTS; missing ones take their default.

    Raises:
        ValueError: a wrong argument; one line with its name and how to correct it.

    """
    values = resolve(values, REPLAY_ARGUMENTS)
    bag, info = _bag(values["bag"])
    robot = _robot(values["robot"], info)
    rate = real_number("rate", values["rate"], 0.01, 100.0)
    start_offset = real_number("start_offset", values["start_offset"], 0.0, _MAX_OFFSET)
    names = {a.name for a in ARGUMENTS}
    graph = policy_graph(
        {
            **{name: value for name, value in values.items() if name in names},
            "robot": str(robot),
            "namespace": values["namespace"] or info.namespace,
            "use_sim_time": "true",
        }
    )
    instruction = values["instruction"] or info.instruction
    if not instruction:
        _LOGGER.warning(
            "the bag does not say what the robot was instructed to do: give an instruction, or the "
            "policy waits for one"
        )
    policy, executor = graph.processes
    processes = [
        replace(
            policy,
            # A camera was where it was: a reference picture of today says nothing about the bag.
            parameters={
                **policy.parameters,
                "instruction": instruction,
                "camera_shift_action": "off",
            },
        ),
        replace(executor, parameters={**executor.parameters, "shadow": True}),
    ]
    if values["player"] == "player_node":
        player = {
            "bag": str(bag),
            "robot": str(robot),
            "rate": rate,
            "start_offset": start_offset,
            "loop": values["loop"] == "true",
            "wait_for_policy": POLICY_TIMEOUT,
        }
        processes.append(NodeProcess("player_node", stop_order=2, parameters=player))
    if values["output"]:
        output = str(Path(values["output"]).expanduser().absolute())
        processes.append(
            recorder_process({"robot": str(robot), "output": output, "use_sim_time": True})
        )
    return replace(graph, processes=tuple(processes))


def rosbag2_play_command(values: Mapping[str, str]) -> list[str]:
    """Return the `ros2 bag play` command that plays what the player node would.

    Args:
        values: as for `replay_graph`.

    Raises:
        ValueError: as `replay_graph`.

    """
    values = resolve(values, REPLAY_ARGUMENTS)
    bag, info = _bag(values["bag"])
    contract = load_contract(_robot(values["robot"], info))
    root = absolute_namespace(require_namespace(values["namespace"] or info.namespace))
    command = ["ros2", "bag", "play", str(bag), "--clock", "100"]
    command += ["--rate", f"{real_number('rate', values['rate'], 0.01, 100.0):g}"]
    offset = real_number("start_offset", values["start_offset"], 0.0, _MAX_OFFSET)
    command += ["--start-offset", f"{offset:g}"]
    command += ["--loop"] if values["loop"] == "true" else []
    topics = input_topics(contract)
    return [
        *command,
        "--topics",
        *(t if t.startswith("/") else f"{root.rstrip('/')}/{t}" for t in topics),
    ]


def _bag(value: str) -> tuple[Path, EpisodeInfo]:
    if not value:
        raise ValueError("bag is not set: give the directory of a bag")
    bag = Path(value).expanduser().absolute()
    return bag, read_episode(bag)


def _robot(value: str, info: EpisodeInfo) -> Path:
    """Return the file of the robot contract: the given one, or that of the bag."""
    if value:
        return robot_path(value)
    if not info.contract:
        raise ValueError(
            "the bag does not contain a robot contract: give robot, the name or file of one"
        )
    recorded = Path(info.contract_file)
    if recorded.is_file() and recorded.read_text(encoding="utf-8") == info.contract:
        return recorded
    # The file has changed since, or the bag is of another machine.
    folder = Path(tempfile.mkdtemp(prefix="groot_ros_replay_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / f"{info.robot}.yaml"
    file.write_text(info.contract, encoding="utf-8")
    return file
