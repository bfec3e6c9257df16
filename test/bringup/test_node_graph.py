"""The node graph, as data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from groot_ros.bringup.node_graph import ARGUMENTS, Graph, NodeProcess, demo_graph, policy_graph
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


def test_a_real_robot_is_never_driven_by_a_checkpoint_that_nobody_chose() -> None:
    with pytest.raises(ValueError, match=r"checkpoint is not set: give the directory"):
        policy_graph({})


def test_the_dds_profile_of_the_user_is_respected(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    ours = policy_graph({"checkpoint": checkpoint}).environment
    assert Path(ours["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    theirs = policy_graph({"checkpoint": checkpoint}).environment
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in theirs


def test_the_policy_chooses_its_threads_unless_somebody_does(checkpoint: str) -> None:
    policy = policy_graph({"checkpoint": checkpoint}).processes[0]
    assert policy.parameters["torch_threads"] == 0
    assert "OMP_NUM_THREADS" not in policy.environment
    policy = policy_graph({"checkpoint": checkpoint, "torch_threads": "3"}).processes[0]
    assert policy.parameters["torch_threads"] == 3
    assert policy.environment["OMP_NUM_THREADS"] == "3"


def full_names(graph: Graph) -> set[str]:
    """Of every node, as its own arguments give them."""
    names = set()
    for process in graph.processes:
        (namespace,) = [a for a in graph.ros_arguments(process) if a.startswith("__ns:=")]
        names.add(f"{namespace.removeprefix('__ns:=')}/{process.executable}")
    return names


def test_an_unproven_engine_is_allowed_only_where_it_is_said(checkpoint: str) -> None:
    def given(**more: str) -> object:
        policy = policy_graph({"checkpoint": checkpoint, **more}).processes[0]
        return policy.parameters.get("allow_unvalidated_engine", "left to a params_file")

    assert given() == "left to a params_file"
    assert given(allow_unvalidated_engine="true") is True


def test_engines_are_those_of_the_node_s_parameter(checkpoint: str) -> None:
    (argument,) = (a for a in ARGUMENTS if a.name == "engine")
    (parameter,) = (p for p in parameters_of(PolicyConfig) if p.name == "engine")
    assert argument.choices == (*parameter.choices, *parameter.former_choices)


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


def test_both_nodes_read_the_users_parameters_and_no_file_comes_between(
    checkpoint: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**: {ros__parameters: {rate_hz: 2.0}}\n")
    graph = policy_graph({"checkpoint": checkpoint, "params_file": str(mine)})
    assert [p.parameter_files for p in graph.processes] == [(mine,), (mine,)]
    assert [p.parameter_files for p in policy_graph({"checkpoint": checkpoint}).processes] == [
        (),
        (),
    ]


def test_backbone_assets_reach_the_policy_and_leave_a_params_file_its_say(
    checkpoint: str, tmp_path: Path
) -> None:
    def given(value: str) -> object:
        graph = policy_graph({"checkpoint": checkpoint, "backbone_assets": value})
        return graph.processes[0].parameters.get("backbone_assets")

    assert given(str(tmp_path)) == str(tmp_path.resolve())
    assert given("nvidia/Eagle-Block2A-2B-v2") == "nvidia/Eagle-Block2A-2B-v2"
    assert given("") is None


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
        ("policy_cpus", "99", r"policy_cpus '99': CPU 99 is not here \(there are 0-7\)"),
        ("policy_cpus", "0-9:2", r"policy_cpus '0-9:2': CPU 8 is not here"),
        ("executor_cpus", "2-1", r"executor_cpus '2-1': no CPU of it is here"),
        ("executor_cpus", "all", r"executor_cpus 'all' is not a list of CPUs such as 0,2-5"),
        ("autostart", "yes", r"autostart must be one of true, false"),
        ("engine", "bogus", r"engine must be one of auto, torch, .*, plain, not 'bogus'"),
        ("allow_unvalidated_engine", "1", r"allow_unvalidated_engine must be one of true, false"),
        ("colour", "red", r"'colour' is not a bringup argument"),
        ("checkpoint", "/no/such", r"checkpoint /no/such: no such directory"),
        ("checkpoint", "/", r"checkpoint '/' is not a checkpoint: it has no config.json"),
        ("checkpoint", "nobody/nothing", r"hf download nobody/nothing"),
    ],
)
@pytest.mark.usefixtures("eight_cpus")
def test_a_wrong_argument_gives_one_line_that_names_it(
    checkpoint: str, name: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        policy_graph({"checkpoint": checkpoint, name: value})
    assert "\n" not in str(error.value)


def test_every_argument_says_what_it_is_for() -> None:
    assert all(a.description for a in ARGUMENTS)
    assert len({a.name for a in ARGUMENTS}) == len(ARGUMENTS)
