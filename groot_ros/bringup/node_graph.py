# SPDX-License-Identifier: Apache-2.0
"""The node graph as plain data; launch/*.launch.py and `groot-ros up` both start it.

No launch and no rclpy. `policy_graph` is the product (policy and executor), `demo_graph` adds the
simulated robot and a recorder, `record_graph` is a recorder alone.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from groot_ros.bags import graph_topics
from groot_ros.bags.episode import EPISODE_KEY, describe_recording
from groot_ros.bringup.arguments import (
    DEMO_ARGUMENTS,
    RECORD_ARGUMENTS,
    absolute_namespace,
    cpu_list,
    default_values,
    optional_file,
    require_namespace,
    resolve,
    whole_number,
)
from groot_ros.core.share import DEMO_ROBOT, PROMPT_ROBOT, dds_profile, demo_checkpoint, robot_path
from groot_ros.robot import load_contract

#: Camera size of a recorded demo: 20 s of raw images stay below 300 MB.
_RECORDED_IMAGES = {"image_width": 320, "image_height": 240}
#: Robot with a shipped checkpoint -> camera size, with the ratio of the data of the checkpoint.
_TABLE_IMAGES = {
    DEMO_ROBOT: {"image_width": 192, "image_height": 192},
    PROMPT_ROBOT: {"image_width": 256, "image_height": 128},
}
#: Topic on which the simulated robot states what was achieved.
EPISODE_TOPIC = "sim_robot_node/episode"


@dataclass(frozen=True)
class NodeProcess:
    """One process of the graph.

    Attributes:
        executable: name of the node and of its module in groot_ros.nodes.
        stop_order: processes with a lower number stop first: the executor, whose final hold ends
            the motion immediately, then the policy, then the robot.
        managed: whether it is a lifecycle node.
        parameters: override the values of parameter_files.
        parameter_files: YAML files of ROS parameters.
        nice: nice level.
        cpus: CPU list in the format of taskset -c; empty = all.
        environment: variables in addition to those of the graph.

    """

    executable: str
    stop_order: int
    managed: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_files: tuple[Path, ...] = ()
    nice: int = 0
    cpus: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> list[str]:
        """Return the command prefix that sets the nice level and the CPUs."""
        prefix = ["nice", "-n", str(self.nice)] if self.nice else []
        return prefix + (["taskset", "-c", self.cpus] if self.cpus else [])


@dataclass(frozen=True)
class Graph:
    """All processes of a bring-up with their common namespace, log level and environment."""

    processes: tuple[NodeProcess, ...]
    namespace: str
    log_level: str
    environment: Mapping[str, str]

    def ros_arguments(self, process: NodeProcess) -> list[str]:
        """Return the --ros-args of one process, for a supervisor without launch."""
        arguments = ["--ros-args"]
        if self.namespace:
            arguments += ["-r", f"__ns:={absolute_namespace(self.namespace)}"]
        for file in process.parameter_files:
            arguments += ["--params-file", str(file)]
        for name, value in process.parameters.items():
            arguments += ["-p", f"{name}:={_yaml(value)}"]
        return [*arguments, "--log-level", self.log_level]


def policy_graph(values: Mapping[str, str]) -> Graph:
    """Return the graph of policy and executor.

    Args:
        values: launch argument name -> value; missing ones take their default.

    Raises:
        ValueError: a wrong argument; one line with its name and how to correct it.

    """
    values = resolve(values)
    robot = str(robot_path(values["robot"]))
    namespace = require_namespace(values["namespace"])
    params_file = optional_file("params_file", values["params_file"])
    shared = {"robot": robot, "use_sim_time": values["use_sim_time"] == "true"}
    managed = {**shared, "autostart": values["autostart"] == "true"}
    threads = _torch_threads(values["torch_threads"])
    policy = NodeProcess(
        "policy_node",
        stop_order=1,
        managed=True,
        parameters={
            **managed,
            "checkpoint": _checkpoint(values["checkpoint"]),
            **_assets("backbone_assets", values["backbone_assets"]),
            **_assets("base_checkpoint", values["base_checkpoint"]),
            **_engine_directory(values["engine_directory"]),
            **_allow_unvalidated_engine(values["allow_unvalidated_engine"]),
            "embodiment": values["embodiment"],
            "engine": values["engine"],
            "device": values["device"],
            "torch_threads": threads,
        },
        parameter_files=params_file,
        nice=whole_number("policy_nice", values["policy_nice"], -20, 19),
        cpus=cpu_list("policy_cpus", values["policy_cpus"]),
        environment={"OMP_NUM_THREADS": str(threads)} if threads else {},
    )
    executor = NodeProcess(
        "executor_node",
        stop_order=0,
        managed=True,
        parameters=managed,
        parameter_files=params_file,
        nice=whole_number("executor_nice", values["executor_nice"], -20, 19),
        cpus=cpu_list("executor_cpus", values["executor_cpus"]),
        # Arrays have one row per joint: a BLAS thread pool would only add wake-ups.
        environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return Graph((policy, executor), namespace, values["log_level"], _shared_environment())


def demo_robot(values: Mapping[str, str]) -> str:
    """Return the robot of a demo: the one that is given, or that of the tasks."""
    return values.get("robot") or (PROMPT_ROBOT if asks_with_pictures(values) else DEMO_ROBOT)


def asks_with_pictures(values: Mapping[str, str]) -> bool:
    """Return whether the tasks of a demo have prompts with pictures."""
    names = [name.strip() for name in values.get("task", "").split(",")]
    return any(name.partition("/")[0] == "vima" for name in names)


def demo_graph(
    values: Mapping[str, str],
    *,
    bag: str = "",
    seed: int = 0,
) -> Graph:
    """Return the policy graph with a simulated robot.

    Args:
        values: name -> value of DEMO_ARGUMENTS; without a checkpoint the shipped one is used.
        bag: directory in which a recorder writes a bag; empty = no recorder.
        seed: seed of the scenes.

    Raises:
        ValueError: as policy_graph.

    """
    values = {**default_values(DEMO_ARGUMENTS), **values, "robot": demo_robot(values)}
    task = values.pop("task")
    contract = load_contract(robot_path(values["robot"]))
    if not values["checkpoint"] and contract.robot in _TABLE_IMAGES:
        values["checkpoint"] = str(demo_checkpoint(contract.robot))
    graph = policy_graph(values)
    policy, *others = graph.processes
    robot = policy.parameters["robot"]
    # References of the shipped contracts show the user's robot, not the simulated one.
    parameters = {**policy.parameters, "camera_shift_action": "off"}
    processes = (replace(policy, parameters=parameters), *others)
    sim_time = values["use_sim_time"] == "true"
    images = _TABLE_IMAGES.get(contract.robot, _RECORDED_IMAGES if bag else {})
    own = {**images, "task": task} if task else dict(images)
    extra = [
        NodeProcess(
            "sim_robot_node",
            stop_order=2,
            # The simulated robot publishes /clock, so it does not use sim time itself.
            parameters={"robot": robot, "seed": seed, "publish_clock": sim_time, **own},
            environment=_simulation_environment(),
        )
    ]
    if bag:
        topics = graph_topics(contract, use_sim_time=sim_time)
        recorded = {"robot": robot, "output": bag, "use_sim_time": sim_time}
        if task:
            recorded["topics"] = [*topics, EPISODE_TOPIC]
        extra.append(recorder_process(recorded))
    return Graph((*processes, *extra), graph.namespace, graph.log_level, graph.environment)


def record_graph(
    *,
    robot: str,
    output: str,
    topics: Sequence[str] = (),
    namespace: str = "",
    use_sim_time: bool = False,
    episodes: bool = False,
    instruction: str = "",
    compression: str = "none",
) -> Graph:
    """Return the graph of a recorder alone, for a robot whose nodes are already running.

    Args:
        robot: robot contract, a shipped name or a file; may be empty if there are topics.
        output: directory of the bag, which must not exist; with episodes, folder of their bags.
        topics: topics to record; empty = all topics of the contract.
        namespace: namespace of the recorded graph.
        use_sim_time: whether to use and record /clock.
        episodes: whether to wait for the service start_episode.
        instruction: what the robot is to do, for the description of the bags.
        compression: of the bags: none or zstd.

    Raises:
        ValueError: there is no such robot contract.

    """
    parameters: dict[str, Any] = {
        "output": output,
        "use_sim_time": use_sim_time,
        "episodes": episodes,
        "instruction": instruction,
        "compression": compression,
    }
    if robot or not topics:
        parameters["robot"] = str(robot_path(robot))
    if topics:
        parameters["topics"] = list(topics)
    return Graph((recorder_process(parameters),), namespace, "info", _shared_environment())


def expert_graph(parameters: Path) -> Graph:
    """Return the graph of a scripted expert with its own simulated robot and recorder.

    Args:
        parameters: file of the parameters of all three, which run in one process.

    """
    process = NodeProcess(
        "expert_node",
        stop_order=0,
        parameter_files=(parameters,),
        environment=_simulation_environment(),
    )
    return Graph((process,), "", "info", _shared_environment())


def records_with_rosbag2(values: Mapping[str, str], packages: Collection[str]) -> bool:
    """Return whether record.launch.py uses rosbag2 instead of the recorder node.

    Args:
        values: of RECORD_ARGUMENTS.
        packages: names of the installed ROS packages.

    Raises:
        ValueError: rosbag2 is asked for and not installed, or cannot do what is asked for.

    """
    values = resolve(values, RECORD_ARGUMENTS)
    missing = [name for name in ("ros2bag", "rosbag2_storage_mcap") if name not in packages]
    if values["recorder"] == "rosbag2":
        if missing:
            raise ValueError(
                f"recorder is rosbag2, but {' and '.join(missing)} is not installed: install it, "
                "or use recorder:=recorder_node"
            )
        if values["episodes"] == "true":
            raise ValueError("rosbag2 records no episodes: use recorder:=recorder_node")
    return values["recorder"] == "rosbag2" or (
        values["recorder"] == "auto" and not missing and values["episodes"] == "false"
    )


def rosbag2_command(values: Mapping[str, str], distro: str) -> list[str]:
    """Return the `ros2 bag record` command that records the same topics as `record_graph`.

    Except on Humble, whose command has no such option, the bag describes the recording as well.

    Args:
        values: argument name -> value, of RECORD_ARGUMENTS. A ~ in `output` is expanded, because
            the shell does not expand it after `output:=`.
        distro: ROS_DISTRO. Humble takes topics as positional arguments only, releases after Jazzy
            as an option only.

    Raises:
        ValueError: a wrong argument; one line with its name and how to correct it.

    """
    values = resolve(values, RECORD_ARGUMENTS)
    if not values["output"]:
        raise ValueError("output is not set: give the directory of the bag")
    sim_time = values["use_sim_time"] == "true"
    topics = graph_topics(load_contract(robot_path(values["robot"])), use_sim_time=sim_time)
    root = absolute_namespace(require_namespace(values["namespace"]))
    command = ["ros2", "bag", "record", "--storage", "mcap"]
    command += ["--output", str(Path(values["output"]).expanduser())]
    command += ["--use-sim-time"] if sim_time else []
    if values["compression"] == "zstd":
        command += ["--storage-preset-profile", "zstd_fast"]
    if distro != "humble":
        info = describe_recording(
            robot_path(values["robot"]), values["namespace"], use_sim_time=sim_time
        )
        info = replace(info, instruction=values["instruction"])
        named = info.started_now(Path(values["output"]).name)
        command += ["--custom-data", f"{EPISODE_KEY}={named.to_custom_data()}", "--topics"]
    return command + [t if t.startswith("/") else f"{root.rstrip('/')}/{t}" for t in topics]


def recorder_process(parameters: Mapping[str, Any]) -> NodeProcess:
    """Return the process of a recorder with these parameters."""
    return NodeProcess(
        "recorder_node",
        stop_order=3,
        parameters=parameters,
        nice=5,
        environment={"OMP_NUM_THREADS": "1"},
    )


def _shared_environment() -> dict[str, str]:
    return {"RCUTILS_LOGGING_BUFFERED_STREAM": "1", "PYTHONUNBUFFERED": "1", **dds_profile()}


def _simulation_environment() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "osmesa")}


def _checkpoint(value: str) -> str:
    # No default: the demo policy must never start on a real arm unasked.
    if not value:
        raise ValueError(
            "checkpoint is not set: give the directory of your checkpoint "
            f"(for the simulated robot: {demo_checkpoint()})"
        )
    from groot_ros.checkpoint.locate import find_checkpoint
    from groot_ros.checkpoint.mistakes import checkpoint_mistake

    path = find_checkpoint(value)
    # The family is looked up by the node: this runs under a Python without its packages.
    if path.is_dir() and not any(path.glob("*.json")):
        mistake = checkpoint_mistake(path) or "is not a checkpoint: it has no *.json file"
        raise ValueError(f"checkpoint '{value}' {mistake}")
    return str(path.resolve())


def _assets(name: str, value: str) -> dict[str, str]:
    """Return no parameter for an empty value, so that params_file can set it."""
    path = Path(value)
    return {name: str(path.resolve()) if path.exists() else value} if value else {}


def _engine_directory(value: str) -> dict[str, str]:
    """Return no parameter for an empty value, so that params_file can set it."""
    if Path(value).is_file():
        raise ValueError(f"engine_directory '{value}' is a file: give the directory that it is in")
    if value and not (Path(value) / "manifest.json").is_file():
        raise ValueError(
            f"engine_directory '{value}' has no manifest.json: "
            "give a directory that `groot-ros engine make` has written"
        )
    return {"engine_directory": str(Path(value).resolve())} if value else {}


def _allow_unvalidated_engine(value: str) -> dict[str, bool]:
    """Return no parameter for "false", so that params_file can set it."""
    return {"allow_unvalidated_engine": True} if value == "true" else {}


def _torch_threads(value: str) -> int:
    """Return the thread count, 0 for "auto": the policy node then chooses by model and CPUs."""
    return 0 if value == "auto" else whole_number("torch_threads", value, 1, 256)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    # Unquoted, ROS would read "1e3" as a number and "" as null. YAML escapes a quote by doubling.
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
