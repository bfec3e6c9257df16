"""One value for each default: the tables take it from the records, the shipped files repeat it."""

from dataclasses import fields

import pytest
import yaml

from groot_ros.bridge.parameter_tables import EXECUTOR, POLICY, TABLES
from groot_ros.control.settings import ExecutorSettings
from groot_ros.core.share import share_directory
from groot_ros.observation.spec import SyncTolerances


@pytest.mark.parametrize(
    ("table", "record"), [(POLICY, SyncTolerances()), (EXECUTOR, ExecutorSettings())]
)
def test_a_default_that_a_record_has_too_is_the_records(table, record) -> None:
    shared = {row.name: row.default for row in table}
    own = {field.name: getattr(record, field.name) for field in fields(record)}
    common = shared.keys() & own.keys()
    assert len(common) >= 4
    assert {name: shared[name] for name in common} == {name: own[name] for name in common}


@pytest.mark.parametrize("node", ["policy_node", "executor_node"])
def test_the_shipped_file_sets_nothing_and_its_comments_are_true(node: str) -> None:
    file = share_directory() / "config" / f"{node.removesuffix('_node')}.yaml"
    text = file.read_text(encoding="utf-8")
    assert yaml.safe_load(text) is None
    _, _, example = text.partition("#\n")
    ((name, section),) = yaml.safe_load(
        "\n".join(line[2:] for line in example.splitlines())
    ).items()
    assert name == f"/**/{node}"
    defaults = {row.name: row.default for row in TABLES[node]}
    named = section["ros__parameters"]
    assert len(named) >= 4
    assert named == {name: defaults[name] for name in named}
