"""Tables of parameters: checked when declared, locked while configured, told in one line."""

from dataclasses import replace

import pytest
import rclpy
from rclpy.parameter import Parameter as RosParameter

from groot_ros.bridge.parameter_tables import TABLES
from groot_ros.bridge.parameters import Parameter, Parameters

RATE = Parameter("rate", 5.0, "How often", "Hz", 0.1, 100.0)
TABLE = (
    RATE,
    Parameter("count", 3, "How many", "", 0, 10, live=True),
    Parameter("engine", "auto", "How", choices=("auto", "torch")),
    Parameter("shadow", False, "Only look"),
    Parameter("topics", [""], "Which"),
)


@pytest.fixture
def make(ros_domain):
    nodes = []

    def made(*arguments, table=TABLE):
        given = [a for each in arguments for a in ("-p", each)]
        rclpy.init(args=["--ros-args", *given])
        nodes.append(rclpy.create_node("node"))
        return nodes[0], Parameters(nodes[0], table)

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def change(node, **values):
    return node.set_parameters([RosParameter(name, value=v) for name, v in values.items()])


@pytest.mark.ros
def test_values_come_from_the_command_line_or_the_table(make):
    _, parameters = make("rate:=2.5", "engine:=torch", "topics:=[a, b]")
    assert parameters.number("rate") == 2.5
    assert parameters.text("engine") == "torch"
    assert parameters.names("topics") == ["a", "b"]
    assert (parameters.integer("count"), parameters.flag("shadow")) == (3, False)


MODE = (Parameter("mode", "on", "Whether", choices=("off", "on"), live=True),)


@pytest.mark.ros
def test_off_is_a_word_also_where_yaml_takes_it_for_false(make):
    node, parameters = make("mode:=off", table=MODE)
    assert parameters.text("mode") == "off"
    assert change(node, mode="on")[0].successful
    assert parameters.text("mode") == "on"
    assert change(node, mode=False)[0].successful
    assert parameters.text("mode") == "off"


@pytest.mark.ros
@pytest.mark.parametrize("value", ["true", "5", "maybe"])
def test_what_is_no_word_of_the_choice_is_rejected(make, value):
    with pytest.raises(ValueError, match=f"mode must be one of off, on, not '(?i:{value})'"):
        make(f"mode:={value}", table=MODE)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("rate:=fast", "rate must be a number, not 'fast'"),
        ("rate:=true", "rate must be a number, not True"),
        ("rate:=0", "rate must be at least 0.1, not 0"),
        ("rate:=-3.0", "rate .*out of range Min: 0.1, Max: 100.0, value: -3.0"),
        ("count:=11", "count .*out of range"),
        ("engine:=abacus", "engine must be one of auto, torch, not 'abacus'"),
        ("shadow:=maybe", "shadow must be like False"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_parameter(make, argument, told):
    with pytest.raises(ValueError, match=told) as caught:
        make(argument)
    assert "\n" not in str(caught.value)


@pytest.mark.ros
def test_an_accepted_change_is_seen_and_told_and_a_rejected_one_is_neither(make):
    node, parameters = make()
    seen = []
    parameters.on_change(lambda name, value: seen.append((name, value)))
    accepted, rejected = change(node, count=7, engine="abacus")
    assert accepted.successful
    assert rejected.reason == "engine must be one of auto, torch, not 'abacus'"
    assert (parameters.integer("count"), parameters.text("engine")) == (7, "auto")
    assert seen == [("count", 7)]


@pytest.mark.ros
def test_a_number_needs_no_decimal_point(make):
    node, parameters = make("rate:=2")
    assert parameters.number("rate") == 2.0
    seen = []
    parameters.on_change(lambda name, value: seen.append(value))
    accepted, rejected, word = change(node, rate=3), change(node, rate=101), change(node, rate="3")
    assert accepted[0].successful
    assert seen == [3.0]
    assert isinstance(seen[0], float)
    assert rejected[0].reason == "rate must be at most 100, not 101"
    assert word[0].reason == "rate must be a number, not '3'"
    assert parameters.number("rate") == 3.0


@pytest.mark.ros
def test_while_locked_only_live_parameters_change(make):
    node, parameters = make()
    parameters.lock()
    live, locked = change(node, count=7, rate=1.0)
    assert live.successful
    assert locked.reason == "rate cannot change now: run cleanup first"
    assert parameters.number("rate") == 5.0
    parameters.unlock()
    assert change(node, rate=1.0)[0].successful
    assert parameters.number("rate") == 1.0


@pytest.mark.ros
def test_whose_time_counts_does_not_change_under_a_node_configured_or_not(make):
    node, _ = make()
    rejected = change(node, use_sim_time=True)[0]
    assert rejected.reason == (
        "use_sim_time cannot change: it is read once, when the node starts: start it anew"
    )
    assert not node.get_clock().ros_time_is_active
    assert change(node, use_sim_time=False)[0].successful


@pytest.mark.ros
def test_a_value_that_the_node_itself_refuses_stays_as_it_was(make):
    def reject(name, value):
        raise ValueError(f"{name} must not be {value}")

    node, parameters = make()
    parameters.on_change(reject)
    rejected = change(node, count=7)[0]
    assert (rejected.successful, rejected.reason) == (False, "count must not be 7")
    assert parameters.integer("count") != 7


@pytest.mark.ros
def test_parameters_of_others_are_left_alone(make):
    node, parameters = make()
    node.declare_parameter("foreign", 1)
    parameters.lock()
    assert change(node, foreign=2)[0].successful


@pytest.mark.ros
def test_the_descriptor_says_unit_range_and_choices(make):
    node, _ = make()
    rate, engine = node.describe_parameters(["rate", "engine"])
    assert rate.description == "How often [Hz]"
    assert rate.floating_point_range[0].to_value == 100.0
    assert engine.additional_constraints == "one of auto, torch"


@pytest.mark.parametrize("value", [0.05, float("nan"), float("-inf")])
def test_a_number_outside_its_bounds_is_a_problem(value):
    assert RATE.problem(value).startswith("rate must be at least 0.1")
    assert not RATE.problem(0.1)
    assert replace(RATE, maximum=None).problem(1e9) == ""


@pytest.mark.parametrize("node", TABLES)
def test_every_table_keeps_its_own_rules(node):
    rows = TABLES[node]
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert row.problem(row.default) == "", row.name
        assert row.description, row.name
        assert not row.description.endswith("."), row.name
