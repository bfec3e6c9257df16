# SPDX-License-Identifier: Apache-2.0
"""Parameters are declared from a configuration, checked, and locked while the node is configured.

Regressions covered: `rtc.mode:=off` was read as false, `rate:=2` was rejected as an integer.
"""

from dataclasses import dataclass

import pytest
import rclpy
import yaml
from rclpy.parameter import Parameter as RosParameter

from groot_ros.bridge.parameter_docs import NODE_CONFIGS
from groot_ros.bridge.parameters import Parameters
from groot_ros.core.config import check, parameter, parameters_of
from groot_ros.core.share import share_directory


@dataclass(frozen=True)
class Config:
    rate: float = parameter(
        5.0, "How often", unit="Hz", minimum=0.1, maximum=100.0, former_name="tempo"
    )
    count: int = parameter(
        3, "How many", minimum=0, maximum=10, live=True, former_name="many.things"
    )
    engine: str = parameter(
        "auto", "How", choices=("auto", "torch", "reference"), former_choices={"plain": "reference"}
    )
    shadow: bool = parameter(False, "Only look", former_name="dark")
    topics: tuple[str, ...] = parameter((), "Which")
    internal: float = parameter(1.0, "Fixed", exposed=False)

    def __post_init__(self) -> None:
        check(self)
        if self.rate == 66.0 and self.shadow:
            raise ValueError("rate must not be 66 with shadow")


@dataclass(frozen=True)
class ModeConfig:
    mode: str = parameter("on", "Whether", choices=("off", "on"), live=True)

    def __post_init__(self) -> None:
        check(self)


@pytest.fixture
def make(ros_domain):
    nodes = []

    def made(*arguments, config=Config):
        given = [a for each in arguments for a in ("-p", each)]
        rclpy.init(args=["--ros-args", *given])
        nodes.append(rclpy.create_node("node"))
        return nodes[0], Parameters(nodes[0], config)

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def change(node, **values):
    return node.set_parameters([RosParameter(name, value=v) for name, v in values.items()])


@pytest.mark.ros
def test_values_come_from_the_command_line_or_are_the_defaults(make):
    node, parameters = make("rate:=2.5", "engine:=torch", "topics:=[a, b]")
    assert parameters.config == Config(2.5, 3, "torch", False, ("a", "b"))
    assert not node.has_parameter("internal")


@pytest.mark.ros
def test_off_is_a_choice_although_yaml_reads_it_as_false(make):
    node, parameters = make("mode:=off", config=ModeConfig)
    assert parameters.config.mode == "off"
    assert change(node, mode="on")[0].successful
    assert parameters.config.mode == "on"
    assert change(node, mode=False)[0].successful
    assert parameters.config.mode == "off"


@pytest.mark.ros
@pytest.mark.parametrize("value", ["true", "5", "maybe"])
def test_a_value_that_is_not_a_choice_is_rejected(make, value):
    with pytest.raises(ValueError, match=f"mode must be one of off, on, not '(?i:{value})'"):
        make(f"mode:={value}", config=ModeConfig)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("rate:=fast", "rate must be a number, not 'fast'"),
        ("rate:=true", "rate must be a number, not True"),
        ("rate:=0", "rate must be at least 0.1, not 0"),
        ("rate:=-3.0", "rate must be at least 0.1, not -3"),
        ("count:=11", "count must be at most 10, not 11"),
        ("engine:=abacus", "engine must be one of auto, torch, reference, not 'abacus'"),
        ("shadow:=maybe", "shadow must be true or false, not 'maybe'"),
        ("tempo:=fast", "tempo: rate must be a number, not 'fast'"),
        ("many.things:=11", "many.things: count must be at most 10, not 11"),
    ],
)
def test_an_invalid_value_is_one_line_that_names_its_parameter(make, argument, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(argument)
    assert "\n" not in str(caught.value)


@pytest.mark.ros
def test_a_former_name_is_accepted_with_one_warning_that_names_the_new_one(make, capfd):
    _, parameters = make("tempo:=2", "many.things:=7", "dark:=true")
    assert parameters.config == Config(rate=2.0, count=7, shadow=True)
    lines = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(lines) == 3
    assert "parameter tempo is now called rate; please rename it" in lines[0]
    assert "parameter many.things is now called count" in lines[1]
    assert "parameter dark is now called shadow" in lines[2]


@pytest.mark.ros
def test_the_new_name_has_priority_over_the_former_one(make, capfd):
    node, parameters = make("tempo:=2.0", "rate:=3.0")
    assert parameters.config.rate == 3.0
    assert "parameter tempo is now called rate" in capfd.readouterr().err
    assert not node.has_parameter("tempo")


@pytest.mark.ros
def test_the_former_names_in_a_parameter_file_of_the_previous_version_are_accepted(
    tmp_path, ros_domain, capfd
):
    former = {
        "policy_node": {"allow_unproven_engine": True, "engine": "plain"},
        "executor_node": {"max_starvations": 3, "discovery_time": 1, "max_following_error": 0.2},
    }
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({f"/**/{n}": {"ros__parameters": v} for n, v in former.items()}))
    rclpy.init(args=["--ros-args", "--params-file", str(file)])
    nodes = {name: rclpy.create_node(name) for name in former}
    try:
        policy, executor = (Parameters(n, NODE_CONFIGS[name]).config for name, n in nodes.items())
    finally:
        for node in nodes.values():
            node.destroy_node()
        rclpy.shutdown()
    assert (policy.allow_unvalidated_engine, policy.engine) == (True, "reference")
    assert executor.max_underruns == 3
    assert (executor.discovery_timeout, executor.max_tracking_error) == (1.0, 0.2)
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(warnings) == 5
    assert "engine: 'plain' is now called 'reference'; please rename it" in warnings[0]


@pytest.mark.ros
def test_an_unknown_parameter_gives_a_warning_with_the_nearest_name(make, capfd):
    make("raet:=2.0")
    assert "this node has no parameter raet; did you mean rate?" in capfd.readouterr().err


@pytest.mark.ros
def test_an_accepted_change_is_reported_and_a_rejected_one_is_not(make):
    node, parameters = make()
    seen = []
    parameters.on_change(seen.append)
    accepted, rejected = change(node, count=7, engine="abacus")
    assert accepted.successful
    assert rejected.reason == "engine must be one of auto, torch, reference, not 'abacus'"
    assert parameters.config == Config(count=7)
    assert seen == [Config(count=7)]


@pytest.mark.ros
def test_a_number_needs_no_decimal_point(make):
    node, parameters = make("rate:=2")
    assert parameters.config.rate == 2.0
    assert node.get_parameter("rate").type_ == RosParameter.Type.DOUBLE
    seen = []
    parameters.on_change(lambda config: seen.append(config.rate))
    accepted, rejected, word = change(node, rate=3), change(node, rate=101), change(node, rate="3")
    assert accepted[0].successful
    assert seen == [3.0]
    assert isinstance(seen[0], float)
    assert node.get_parameter("rate").type_ == RosParameter.Type.DOUBLE
    assert rejected[0].reason == "rate must be at most 100, not 101"
    assert word[0].reason == "rate must be a number, not '3'"
    assert parameters.config.rate == 3.0


@pytest.mark.ros
def test_while_locked_only_live_parameters_change(make):
    node, parameters = make()
    parameters.lock()
    live, locked = change(node, count=7, rate=1.0)
    assert live.successful
    assert locked.reason == "rate cannot change now: run cleanup first"
    assert parameters.config.rate == 5.0
    # A tool that loads a dump of all parameters sets those that cannot change, too.
    assert change(node, rate=5.0)[0].successful
    parameters.unlock()
    assert change(node, rate=1.0)[0].successful
    assert parameters.config.rate == 1.0


@pytest.mark.ros
def test_use_sim_time_never_changes(make):
    node, _ = make()
    rejected = change(node, use_sim_time=True)[0]
    assert rejected.reason == (
        "use_sim_time cannot change: it is read when the node starts; restart the node to change it"
    )
    assert not node.get_clock().ros_time_is_active
    assert change(node, use_sim_time=False)[0].successful


@pytest.mark.ros
def test_a_change_that_the_node_rejects_is_not_kept(make):
    def reject(config):
        raise ValueError(f"count must not be {config.count}")

    node, parameters = make()
    parameters.on_change(reject)
    rejected = change(node, count=7)[0]
    assert (rejected.successful, rejected.reason) == (False, "count must not be 7")
    assert parameters.config.count == 3


@pytest.mark.ros
def test_values_that_do_not_fit_each_other_are_rejected(make):
    node, parameters = make("shadow:=true")
    rejected = change(node, rate=66.0)[0]
    assert (rejected.successful, rejected.reason) == (False, "rate must not be 66 with shadow")
    assert parameters.config.rate == 5.0


@pytest.mark.ros
def test_parameters_declared_elsewhere_can_change(make):
    node, parameters = make()
    node.declare_parameter("foreign", 1)
    parameters.lock()
    assert change(node, foreign=2)[0].successful


@pytest.mark.ros
def test_the_descriptor_shows_unit_range_choices_and_when_a_parameter_changes(make):
    node, _ = make()
    rate, engine, count = node.describe_parameters(["rate", "engine", "count"])
    assert rate.description == "How often [Hz]"
    assert rate.floating_point_range[0].to_value == 100.0
    assert engine.additional_constraints == (
        "one of auto, torch, reference; changes after cleanup only"
    )
    assert count.additional_constraints == "changes while active"


@pytest.mark.parametrize("node", ["policy_node", "executor_node"])
def test_the_shipped_parameter_file_sets_nothing_and_shows_the_defaults(node: str) -> None:
    file = share_directory() / "config" / f"{node.removesuffix('_node')}.yaml"
    text = file.read_text(encoding="utf-8")
    assert yaml.safe_load(text) is None
    _, _, example = text.partition("#\n")
    ((name, section),) = yaml.safe_load(
        "\n".join(line[2:] for line in example.splitlines())
    ).items()
    assert name == f"/**/{node}"
    defaults = {p.name: p.default for p in parameters_of(NODE_CONFIGS[node]) if p.exposed}
    named = section["ros__parameters"]
    assert len(named) >= 4
    assert named == {name: defaults[name] for name in named}
