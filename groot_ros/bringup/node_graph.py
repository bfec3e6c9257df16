"""The node graph, said once; launch/*.launch.py and `groot-ros up` both read it.

Plain data: no launch, no rclpy. `policy_graph` is the product (policy and executor),
`demo_graph` adds the simulated robot and a recorder.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groot_ros.core.node_config import ENGINE_CHOICES
from groot_ros.core.share import robot_path, share_directory


@dataclass(frozen=True)
class Argument:
    """One launch argument; `groot-ros up` has an option of the same name."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


#: What differs between one deployment and the next; tuning belongs into params_file.
ARGUMENTS = (
    Argument("checkpoint", "", "Checkpoint directory of the policy, or a downloaded hub id"),
    Argument("backbone_assets", "", "VLM's config and tokenizer; empty = the checkpoint has them"),
    Argument("embodiment", "new_embodiment", "Embodiment tag of the checkpoint"),
    Argument("robot", "so101", "Robot contract: a shipped name or the path of a YAML file"),
    Argument(
        "engine",
        "auto",
        "How the model is executed; auto = the fastest proven here",
        # The node accepts the former name "plain" for one version.
        (*ENGINE_CHOICES, "plain"),
    ),
    Argument("engine_directory", "", "Directory of `groot-ros engine make`; empty = none"),
    Argument("allow_unvalidated_engine", "false", "Run it whatever it answers", ("true", "false")),
    Argument("device", "auto", "auto, cpu, cuda or cuda:N"),
    Argument("params_file", "", "YAML of ROS parameters; config/*.yaml are there to be copied"),
    Argument("namespace", "", "Namespace of every node and topic; two robots need two"),
    Argument("use_sim_time", "false", "Follow /clock", ("true", "false")),
    Argument("autostart", "true", "Configure and activate the nodes", ("true", "false")),
    Argument("log_level", "info", "Log level", ("debug", "info", "warn", "error")),
    Argument("policy_nice", "10", "Nice level of the policy: the executor goes first"),
    Argument("executor_nice", "0", "Nice level of the executor; below 0 needs the privilege"),
    Argument("policy_cpus", "", "CPUs of the policy, as taskset -c takes them; empty = all"),
    Argument("executor_cpus", "", "CPUs of the executor; empty = all"),
    Argument(
        "torch_threads", "auto", "CPU threads of torch; auto = all cores, one for a small model"
    ),
)


#: Of a run that is recorded: 20 s of raw images stay below 300 MB.
_RECORDED_IMAGES = {"image_width": 320, "image_height": 240}


@dataclass(frozen=True)
class NodeProcess:
    """One process of the graph.

    Attributes:
        executable: also the module below groot_ros.nodes and the node's name.
        parameters: on top of every file.
        managed: has a lifecycle.
        stop_order: lower stops first: the executor, whose hold ends the motion at once, then the
            policy, then the robot.

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
        """What runs the process at its nice level and on its CPUs."""
        prefix = ["nice", "-n", str(self.nice)] if self.nice else []
        return prefix + (["taskset", "-c", self.cpus] if self.cpus else [])


@dataclass(frozen=True)
class Graph:
    """Every process of a bringup, and what they share."""

    processes: tuple[NodeProcess, ...]
    namespace: str
    log_level: str
    environment: Mapping[str, str]

    def ros_arguments(self, process: NodeProcess) -> list[str]:
        """The --ros-args of one process, for a supervisor without launch."""
        arguments = ["--ros-args"]
        if self.namespace:
            arguments += ["-r", f"__ns:={namespace_root(self.namespace)}"]
        for file in process.parameter_files:
            arguments += ["--params-file", str(file)]
        for name, value in process.parameters.items():
            arguments += ["-p", f"{name}:={_yaml(value)}"]
        return [*arguments, "--log-level", self.log_level]


def defaults() -> dict[str, str]:
    """Argument name -> default."""
    return {a.name: a.default for a in ARGUMENTS}


def demo_checkpoint() -> Path:
    """The embedded checkpoint: trained for the simulated robot, and for nothing else."""
    return share_directory() / "checkpoints" / "so101_demo"


def policy_graph(values: Mapping[str, str]) -> Graph:
    """Policy and executor.

    Args:
        values: argument name -> value, all of ARGUMENTS.

    Raises:
        ValueError: one line, naming the argument and how to mend it.

    """
    values = checked(values)
    share = share_directory()
    robot = str(robot_path(values["robot"]))
    namespace = checked_namespace(values["namespace"])
    own_file = _existing_file("params_file", values["params_file"])
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
            **_backbone_assets(values["backbone_assets"]),
            **_engine_directory(values["engine_directory"]),
            **_allow_unproven_engine(values["allow_unvalidated_engine"]),
            "embodiment": values["embodiment"],
            "engine": values["engine"],
            "device": values["device"],
            "torch_threads": threads,
        },
        parameter_files=own_file,
        nice=_integer("policy_nice", values["policy_nice"], -20, 19),
        cpus=_cpus("policy_cpus", values["policy_cpus"]),
        environment={"OMP_NUM_THREADS": str(threads)} if threads else {},
    )
    executor = NodeProcess(
        "executor_node",
        stop_order=0,
        managed=True,
        parameters=managed,
        parameter_files=own_file,
        nice=_integer("executor_nice", values["executor_nice"], -20, 19),
        cpus=_cpus("executor_cpus", values["executor_cpus"]),
        # Its arrays are of a handful of joints: a BLAS thread pool only costs wake-ups.
        environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    return Graph((policy, executor), namespace, values["log_level"], _shared_environment(share))


def demo_graph(values: Mapping[str, str], *, bag: str = "", seed: int = 0) -> Graph:
    """The policy's graph, a simulated robot, and a recorder when `bag` names a directory."""
    values = {**defaults(), **values}
    graph = policy_graph({**values, "checkpoint": values["checkpoint"] or str(demo_checkpoint())})
    robot = graph.processes[0].parameters["robot"]
    sim_time = values["use_sim_time"] == "true"
    images = _RECORDED_IMAGES if bag else {}
    extra = [
        NodeProcess(
            "sim_robot_node",
            stop_order=2,
            # The robot is the source of /clock, so it never follows it.
            parameters={"robot": robot, "seed": seed, "publish_clock": sim_time, **images},
            environment={
                "OMP_NUM_THREADS": "1",
                "MUJOCO_GL": os.environ.get("MUJOCO_GL", "osmesa"),
            },
        )
    ]
    if bag:
        extra.append(_recorder({"robot": robot, "output": bag, "use_sim_time": sim_time}))
    return Graph((*graph.processes, *extra), graph.namespace, graph.log_level, graph.environment)


def record_graph(
    *,
    robot: str,
    output: str,
    topics: Sequence[str] = (),
    namespace: str = "",
    use_sim_time: bool = False,
) -> Graph:
    """A recorder alone, beside a graph that runs already; no topics = those of the contract."""
    parameters: dict[str, Any] = {
        "robot": str(robot_path(robot)),
        "output": output,
        "use_sim_time": use_sim_time,
    }
    if topics:
        parameters["topics"] = list(topics)
    return Graph(
        (_recorder(parameters),), namespace, "info", _shared_environment(share_directory())
    )


def _recorder(parameters: Mapping[str, Any]) -> NodeProcess:
    return NodeProcess(
        "recorder_node",
        stop_order=3,
        parameters=parameters,
        nice=5,
        environment={"OMP_NUM_THREADS": "1"},
    )


def _shared_environment(share: Path) -> dict[str, str]:
    environment = {"RCUTILS_LOGGING_BUFFERED_STREAM": "1", "PYTHONUNBUFFERED": "1"}
    # A profile of the user's own is respected.
    if not os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE"):
        environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(share / "config" / "fastdds.xml")
    return environment


def checked(values: Mapping[str, str], arguments: Iterable[Argument] = ARGUMENTS) -> dict[str, str]:
    """The values with the defaults of `arguments` beneath; ValueError naming a wrong one."""
    known = {a.name: a for a in arguments}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not a bringup argument (known: {', '.join(known)})")
    merged = {**{a.name: a.default for a in known.values()}, **values}
    for name, argument in known.items():
        if argument.choices and merged[name] not in argument.choices:
            choices = ", ".join(argument.choices)
            raise ValueError(f"{name} must be one of {choices}, not '{merged[name]}'")
    return merged


def _checkpoint(value: str) -> str:
    # No default: a toy policy that starts by itself would move somebody's real arm.
    if not value:
        raise ValueError(
            "checkpoint is not set: give the directory of your checkpoint "
            f"(the simulated robot's own is {demo_checkpoint()})"
        )
    from groot_ros.checkpoint.locate import find_checkpoint

    directory = find_checkpoint(value)
    if not (directory / "config.json").is_file():
        raise ValueError(f"checkpoint '{value}' is not a checkpoint: it has no config.json")
    return str(directory.resolve())


def _backbone_assets(value: str) -> dict[str, str]:
    """Nothing where it is not given, so that a params_file can say it."""
    path = Path(value)
    return {"backbone_assets": str(path.resolve()) if path.is_dir() else value} if value else {}


def _engine_directory(value: str) -> dict[str, str]:
    """Nothing where it is not given, so that a params_file can say it."""
    if value and not (Path(value) / "manifest.json").is_file():
        raise ValueError(f"engine_directory '{value}' has no manifest.json: groot-ros engine make")
    return {"engine_directory": str(Path(value).resolve())} if value else {}


def _allow_unproven_engine(value: str) -> dict[str, bool]:
    """Nothing where it is not given, so that a params_file can say it."""
    return {"allow_unvalidated_engine": True} if value == "true" else {}


def checked_namespace(value: str) -> str:
    """As it is; ValueError where it is not a ROS name."""
    if value and not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", value, re.ASCII):
        raise ValueError(
            f"namespace '{value}' is not a ROS name: letters, digits and _ between slashes"
        )
    return value


def namespace_root(namespace: str) -> str:
    """With its one slash before, none behind; "/" of none."""
    return f"/{namespace.strip('/')}"


def _existing_file(name: str, value: str) -> tuple[Path, ...]:
    if not value:
        return ()
    if not Path(value).is_file():
        raise ValueError(f"{name} '{value}' does not exist")
    return (Path(value).resolve(),)


def _integer(name: str, value: str, low: int, high: int) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not '{value}'") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {number}")
    return number


def _cpus(name: str, value: str) -> str:
    """A list as taskset -c takes it ("0,2-5", "0-7:2"), each CPU one that is allowed here."""
    allowed = os.sched_getaffinity(0)
    wanted: set[int] = set()
    for part in value.split(",") if value else ():
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::([1-9]\d*))?)?", part.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"{name} '{value}' is not a list of CPUs such as 0,2-5")
        first, last, step = (int(group) if group else None for group in match.groups())
        assert first is not None
        wanted |= set(range(first, (first if last is None else min(last, 2**16)) + 1, step or 1))
    absent = sorted(wanted - allowed)
    if absent or (value and not wanted):
        what = f"CPU {absent[0]} is not" if absent else "no CPU of it is"
        raise ValueError(f"{name} '{value}': {what} here (there are {_ranges(allowed)})")
    return value


def _ranges(cpus: Iterable[int]) -> str:
    ordered = sorted(cpus)
    starts = [c for c in ordered if c - 1 not in ordered]
    ends = [c for c in ordered if c + 1 not in ordered]
    pairs = zip(starts, ends, strict=True)
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in pairs)


def _torch_threads(value: str) -> int:
    """0 where the policy node is to choose: it knows the checkpoint and its own CPUs."""
    return 0 if value == "auto" else _integer("torch_threads", value, 1, 256)


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    # Quoted, or ROS reads "1e3" as a number and "" as nothing; a quote within is said twice.
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
