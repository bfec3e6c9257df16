# SPDX-License-Identifier: Apache-2.0
"""Node graph, launch arguments, and the `ros2 bag record` command of record.launch.py."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from groot_ros.bringup.arguments import ARGUMENTS, RENAMED, Argument, resolve
from groot_ros.bringup.node_graph import (
    Graph,
    NodeProcess,
    demo_graph,
    policy_graph,
    rosbag2_command,
)
from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path)


def test_the_product_is_a_policy_and_an_executor(checkpoint: str) -> None:
    graph = policy_graph({"checkpoint": checkpoint})
    assert [p.executable for p in graph.processes] == ["policy_node", "executor_node"]
    assert all(p.managed for p in graph.processes)


def test_the_demo_adds_a_robot_and_a_recorder_only_when_a_bag_is_named(checkpoint: str) -> None:
    names = [p.executable for p in demo_graph({"checkpoint": checkpoint}).processes]
    assert names == ["policy_node", "executor_node", "sim_robot_node"]
    names = [p.executable for p in demo_graph({"checkpoint": checkpoint}, bag="/b").processes]
    assert names[-1] == "recorder_node"


def test_the_executor_stops_before_the_policy_and_the_robot_after_both(
    checkpoint: str,
) -> None:
    graph = demo_graph({"checkpoint": checkpoint}, bag="/b")
    by_stop = sorted(graph.processes, key=lambda p: p.stop_order)
    assert [p.executable for p in by_stop] == [
        "executor_node",
        "policy_node",
        "sim_robot_node",
        "recorder_node",
    ]


def test_the_executor_never_runs_behind_the_policy_by_default(checkpoint: str) -> None:
    policy, executor = policy_graph({"checkpoint": checkpoint}).processes
    assert executor.nice < policy.nice


def test_the_policy_does_not_start_without_an_explicit_checkpoint() -> None:
    with pytest.raises(ValueError, match=r"checkpoint is not set: give the directory"):
        policy_graph({})


def test_the_dds_profile_of_the_user_has_priority(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    default = policy_graph({"checkpoint": checkpoint}).environment
    assert Path(default["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/user.xml")
    environment = policy_graph({"checkpoint": checkpoint}).environment
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in environment


def test_torch_threads_auto_leaves_the_choice_to_the_policy_node(checkpoint: str) -> None:
    policy = policy_graph({"checkpoint": checkpoint}).processes[0]
    assert policy.parameters["torch_threads"] == 0
    assert "OMP_NUM_THREADS" not in policy.environment
    policy = policy_graph({"checkpoint": checkpoint, "torch_threads": "3"}).processes[0]
    assert policy.parameters["torch_threads"] == 3
    assert policy.environment["OMP_NUM_THREADS"] == "3"


def full_names(graph: Graph) -> set[str]:
    """Return the full node names, from the --ros-args of every process."""
    names = set()
    for process in graph.processes:
        (namespace,) = [a for a in graph.ros_arguments(process) if a.startswith("__ns:=")]
        names.add(f"{namespace.removeprefix('__ns:=')}/{process.executable}")
    return names


def test_an_unvalidated_engine_is_allowed_only_on_request(checkpoint: str) -> None:
    def parameter(**more: str) -> object:
        policy = policy_graph({"checkpoint": checkpoint, **more}).processes[0]
        return policy.parameters.get("allow_unvalidated_engine", "not set")

    assert parameter() == "not set"
    assert parameter(allow_unvalidated_engine="true") is True


def test_the_engine_choices_are_those_of_the_node_parameter(checkpoint: str) -> None:
    (argument,) = (a for a in ARGUMENTS if a.name == "engine")
    (parameter,) = (p for p in parameters_of(PolicyConfig) if p.name == "engine")
    assert argument.choices == parameter.choices
    assert argument.accepted == (*parameter.choices, *parameter.former_choices)


@pytest.mark.parametrize(("given", "value"), [("True", True), ("False", False), ("true", True)])
def test_flags_may_be_spelled_as_python_spells_them(
    checkpoint: str, given: str, value: bool, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"checkpoint": checkpoint, "use_sim_time": given, "autostart": given}
    graph = policy_graph(values)
    assert [p.parameters["use_sim_time"] for p in graph.processes] == [value, value]
    assert [p.parameters["autostart"] for p in graph.processes] == [value, value]
    assert not caplog.records


def test_a_directory_and_a_file_given_for_each_other_are_named(
    checkpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").touch()
    for argument, value, problem in (
        ("params_file", tmp_path, "is a directory: give a file"),
        ("engine_directory", tmp_path / "a.yaml", "is a file: give the directory that it is in"),
        ("robot", tmp_path, "is a directory, not a file, and not one of: "),
        ("checkpoint", tmp_path / "empty", "is an empty directory"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match=problem):
            policy_graph({"checkpoint": checkpoint, argument: str(value)})


def test_two_namespaces_give_two_graphs_that_share_no_name(checkpoint: str) -> None:
    left, right = (
        full_names(demo_graph({"checkpoint": checkpoint, "namespace": namespace}, bag="/b"))
        for namespace in ("left", "/cell/right")
    )
    nodes = ("policy_node", "executor_node", "sim_robot_node", "recorder_node")
    assert left == {f"/left/{node}" for node in nodes}
    assert right == {f"/cell/right/{node}" for node in nodes}
    assert not left & right


@pytest.mark.parametrize(
    "value", ["/home/o'neil/ckpt", "1e3", "", "a: b", "it''s", ["a'b", "/tf"], True, 3, 0.5]
)
def test_every_value_reaches_its_node_as_it_is(value: Any) -> None:
    process = NodeProcess("policy_node", 0, parameters={"name": value})
    (argument,) = [
        a
        for a in Graph((process,), "", "info", {}).ros_arguments(process)
        if a.startswith("name:=")
    ]
    read = yaml.safe_load(argument.removeprefix("name:="))
    assert read == value
    assert type(read) is type(value)


def test_params_file_is_the_only_parameter_file_of_both_nodes(
    checkpoint: str, tmp_path: Path
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("/**: {ros__parameters: {rate_hz: 2.0}}\n")
    graph = policy_graph({"checkpoint": checkpoint, "params_file": str(file)})
    assert [p.parameter_files for p in graph.processes] == [(file,), (file,)]
    assert [p.parameter_files for p in policy_graph({"checkpoint": checkpoint}).processes] == [
        (),
        (),
    ]


def test_backbone_assets_are_a_parameter_of_the_policy_only_when_given(
    checkpoint: str, tmp_path: Path
) -> None:
    def parameter(value: str) -> object:
        graph = policy_graph({"checkpoint": checkpoint, "backbone_assets": value})
        return graph.processes[0].parameters.get("backbone_assets")

    assert parameter(str(tmp_path)) == str(tmp_path.resolve())
    assert parameter("nvidia/Eagle-Block2A-2B-v2") == "nvidia/Eagle-Block2A-2B-v2"
    assert parameter("") is None


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.usefixtures("eight_cpus")
def test_cpus_and_nice_become_the_prefix_of_the_process(checkpoint: str) -> None:
    values = {"checkpoint": checkpoint, "policy_cpus": "1-3", "policy_nice": "5"}
    assert policy_graph(values).processes[0].prefix == ["nice", "-n", "5", "taskset", "-c", "1-3"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("robot", "no_such_robot", r"robot contract 'no_such_robot'.*so101"),
        ("params_file", "/no/such.yaml", r"params_file '/no/such.yaml' does not exist"),
        ("policy_nice", "fast", r"policy_nice must be a whole number"),
        ("policy_nice", "40", r"policy_nice must be between -20 and 19"),
        ("torch_threads", "0", r"torch_threads must be between 1 and 256"),
        ("policy_cpus", "99", r"policy_cpus '99': CPU 99 is not available \(available: 0-7\)"),
        ("policy_cpus", "0-9:2", r"policy_cpus '0-9:2': CPU 8 is not available"),
        ("executor_cpus", "2-1", r"executor_cpus '2-1': selects no CPU"),
        ("executor_cpus", "all", r"executor_cpus 'all' is not a list of CPUs such as 0,2-5"),
        ("autostart", "yes", r"autostart must be one of true, false"),
        ("engine", "bogus", r"engine must be one of auto, .*, torch, .*, not 'bogus'"),
        ("allow_unvalidated_engine", "1", r"allow_unvalidated_engine must be one of true, false"),
        ("colour", "red", r"'colour' is not a launch argument"),
        ("checkpoint", "/no/such", r"checkpoint /no/such: no such directory"),
        ("checkpoint", "/proc", r"checkpoint '/proc' is not a checkpoint: it has no \*.json file"),
        ("checkpoint", "nobody/nothing", r"hf download nobody/nothing"),
    ],
)
@pytest.mark.usefixtures("eight_cpus")
def test_a_wrong_argument_is_rejected_in_one_line_that_names_it(
    checkpoint: str, name: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        policy_graph({"checkpoint": checkpoint, name: value})
    assert "\n" not in str(error.value)


def test_every_argument_has_a_description_and_a_unique_name() -> None:
    assert all(a.description for a in ARGUMENTS)
    assert len({a.name for a in ARGUMENTS}) == len(ARGUMENTS)


@pytest.mark.parametrize("old", RENAMED)
def test_an_argument_name_of_version_0_1_is_accepted_with_a_warning(
    old: str, caplog: pytest.LogCaptureFixture
) -> None:
    new = RENAMED[old]
    defaults = {a.name: a.default for a in ARGUMENTS}
    assert resolve({**defaults, old: "true"})[new] == "true"
    assert f"launch argument {old} is now called {new}" in caplog.text
    assert old not in resolve({old: "true"})


def test_a_value_of_version_0_1_is_accepted_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Argument("engine", "auto", "Engine", ("auto", "reference"))
    assert resolve({"engine": "plain"}, [engine]) == {"engine": "reference"}
    assert "engine 'plain' is now called 'reference'" in caplog.text
    other = Argument("engine", "auto", "Engine", ("auto", "torch"))
    with pytest.raises(ValueError, match="engine must be one of auto, torch, not 'plain'"):
        resolve({"engine": "plain"}, [other])


def test_the_present_name_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    resolve({"allow_unvalidated_engine": "true"})
    assert caplog.text == ""


def test_old_and_new_name_with_different_values_are_rejected() -> None:
    values = {"allow_unproven_engine": "false", "allow_unvalidated_engine": "true"}
    with pytest.raises(ValueError, match="give only allow_unvalidated_engine"):
        resolve(values)


def test_rosbag2_records_the_topics_of_the_namespace_into_an_expanded_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/o'neil")
    command = rosbag2_command({"namespace": "/cell/left", "output": "~/bags/run1"}, "jazzy")
    assert command[:7] == [
        *("ros2", "bag", "record", "--storage", "mcap"),
        *("--output", "/home/o'neil/bags/run1"),
    ]
    assert (command[7], command[9]) == ("--custom-data", "--topics")
    topics = command[10:]
    assert {"/cell/left/action_chunk", "/cell/left/front/image_raw", "/diagnostics"} < set(topics)
    assert all(topic.startswith("/") for topic in topics)
    assert "/clock" not in topics


def test_rosbag2_uses_and_records_the_clock_of_a_simulation() -> None:
    command = rosbag2_command({"output": "/b", "use_sim_time": "true"}, "jazzy")
    assert "--use-sim-time" in command
    assert {"/clock", "/action_chunk"} < set(command)


def test_rosbag2_on_humble_takes_topics_as_positional_arguments() -> None:
    assert "--topics" not in rosbag2_command({"output": "/b"}, "humble")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "output is not set: give the directory of the bag"),
        ({"output": "/b", "namespace": "a b"}, "namespace 'a b' is not a ROS name"),
        ({"output": "/b", "use_sim_time": "yes"}, "use_sim_time must be one of true, false"),
        ({"output": "/b", "robot": "none"}, "robot contract 'none': no such file"),
    ],
)
def test_a_wrong_recording_argument_is_rejected_in_one_line(
    values: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rosbag2_command(values, "jazzy")
