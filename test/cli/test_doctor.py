# SPDX-License-Identifier: Apache-2.0
"""`groot-ros doctor`: output, exit status, and the facts of a graph with planted faults."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from support.policy_stage import stages

from groot_ros.checks import Context, Finding, Severity, Verdict, verdicts
from groot_ros.checks.machine_facts import Machine
from groot_ros.cli import doctor
from groot_ros.cli.main import main
from groot_ros.core.live_graph import LiveGraph
from groot_ros.core.share import demo_checkpoint

HEALTHY = Machine(
    variables={"ROS_DISTRO": "jazzy"},
    rmw="rmw_cyclonedds_cpp",
    packages={"torch": "2.9.0"},
    disk=10**12,
    realtime_priority=99,
)
LINE = re.compile(r"(OK|WARN|ERROR|skipped) +(\w+): \S|         -> \S")


def options(**changes):
    plain = {"robot": None, "checkpoint": None, "embodiment": None, "namespace": "", "seconds": 1.0}
    return SimpleNamespace(**{**plain, **changes})


@pytest.fixture
def known(monkeypatch):
    """Let the command gather these facts instead of those of this machine."""

    def use(machine):
        context = Context(machine=machine, unknown={"graph": "ROS 2 is not there"})
        monkeypatch.setattr(doctor, "gather", lambda _args: context)

    return use


def test_every_check_has_a_line_and_each_finding_a_remedy_below_it(known, capsys) -> None:
    known(HEALTHY)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    checks = text.split("\n\n")[1].splitlines()
    matches = [LINE.match(line) for line in checks]
    assert all(matches)
    names = [match[2] for match in matches if match[2]]
    assert names == [v.check.name for v in verdicts(Context())]
    assert text.count("\nWARN ") == text.count("-> ") == 1  # Cyclone DDS
    assert "skipped  nodes_running: ROS 2 is not there" in text
    assert "\033" not in text


def test_only_an_error_changes_the_exit_status(known, capsys) -> None:
    known(Machine(rclpy_error="No module named 'rclpy'", packages={"torch": "2.9.0"}))
    assert main(["doctor"]) == 1
    assert "ERROR    ros_installed: rclpy cannot be imported (No module" in capsys.readouterr().out


def test_json_has_the_facts_and_one_entry_per_check(known, capsys) -> None:
    known(HEALTHY)
    assert main(["doctor", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["machine"]["packages"] == {"torch": "2.9.0"}
    found = {each["name"]: each for each in value["checks"]}
    assert len(found) == len(verdicts(Context()))
    assert found["ros_distribution"]["result"] == "ok"
    assert found["memory"]["skipped"] == "no checkpoint is known: give --checkpoint"
    (finding,) = found["rmw_implementation"]["findings"]
    assert finding["remedy"].startswith("export RMW_IMPLEMENTATION")


def test_labels_are_coloured_on_a_terminal_only() -> None:
    context = Context(machine=HEALTHY)
    lines = doctor.report(context, verdicts(context), colour=True)
    assert any(line.startswith("\033[32mOK      \033[0m ros_distribution") for line in lines)
    assert not any("\033" in line for line in doctor.report(context, [], colour=False))


def test_control_characters_and_long_names_from_messages_do_not_reach_the_terminal() -> None:
    check = verdicts(Context())[0].check
    finding = Finding(check.name, Severity.ERROR, "has \x1b[2J\nOK" + 1000 * "x", "fix")
    context = Context(machine=HEALTHY)
    lines = doctor.report(context, [Verdict(check, (finding,))], colour=False)
    (line,) = [line for line in lines if line.startswith("ERROR")]
    assert "has \\x1b[2J\\nOKxx" in line
    assert line.endswith("xx...")
    assert len(line) < 550


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--robot", "no_such_robot"], "no such file"),
        (["--namespace", "two arms"], "namespace"),
    ],
)
def test_wrong_options_exit_with_2_and_one_line(arguments, text, capsys) -> None:
    assert main(["doctor", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


def test_a_malformed_contract_exits_with_1_and_one_line(tmp_path, capsys) -> None:
    file = tmp_path / "arm.yaml"
    file.write_text("robot: arm\n")
    assert main(["doctor", "--robot", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_domain_that_is_no_number_is_an_error_and_the_graph_is_skipped(
    monkeypatch, capsys
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "lab")
    assert main(["doctor", "--robot", "so101"]) == 1
    text = capsys.readouterr().out
    assert "ERROR    ros_domain: ROS_DOMAIN_ID is 'lab', not a number from 0 to 232" in text
    assert "skipped  input_publishers: no node can be created: " in text


def test_without_ros_the_machine_and_the_contract_are_checked(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "groot_ros.bridge.graph_probe", None)
    assert main(["doctor", "--robot", "so101"]) == 1
    text = capsys.readouterr().out
    assert "ERROR    ros_installed: rclpy cannot be imported (import of " in text
    assert "skipped  nodes_running: ROS 2 is not there: " in text
    assert "OK       contract_warnings" in text
    assert "OK       disk_space" in text


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.mark.ros
@pytest.mark.slow
def test_a_running_policy_gives_robot_and_parameters_and_its_faults_are_found(stage) -> None:
    on = stage(max_image_age=0.25)
    on.robot.silent.add("wrist")
    on.bring_up()
    namespace = on.node.get_namespace()
    checkpoint = str(demo_checkpoint())
    context = doctor.gather(options(namespace=namespace, checkpoint=checkpoint))
    graph = context.graph
    assert isinstance(graph, LiveGraph)
    assert context.robot.robot == "so101"
    assert context.policy.max_image_age == 0.25
    assert graph.nodes["policy_node"].state == "active"
    assert graph.cameras["front"].publishers == (f"{namespace}/robot",)
    assert graph.cameras["front"].received > 5
    (source,) = graph.sources.values()
    assert source.positions["elbow_flex"] == (0.25, 0.25)
    found = {v.check.name: v for v in verdicts(context)}
    (silent,) = found["input_silent"].findings
    assert f"cameras.wrist ({namespace}/wrist/image_raw) sent no message" in silent.text
    (missing,) = found["nodes_running"].findings
    assert "executor_node does not run" in missing.text
    assert len(found["controller_receivers"].findings) == len(context.robot.controllers)
    for name in ("image_encoding", "input_publishers", "joint_names", "live_limits"):
        assert (found[name].findings, found[name].skipped) == ((), "")
