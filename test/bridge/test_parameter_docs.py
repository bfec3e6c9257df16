# SPDX-License-Identifier: Apache-2.0
"""The parameter page of the documentation is generated from the configurations."""

from dataclasses import make_dataclass
from pathlib import Path

import pytest

from groot_ros.bridge.parameter_docs import NODE_CONFIGS, main, page
from groot_ros.core.config import parameter, parameters_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "parameters.md"


def last_row(name: str, *args, **kwargs) -> list[str]:
    config = make_dataclass("Config", [(name, object, parameter(*args, **kwargs))])
    line = page({"a_node": config}).rstrip().splitlines()[-1]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run python -m groot_ros.bridge.parameter_docs"
    )


def test_every_parameter_of_every_node_is_on_the_page():
    sections = page().split("\n## ")[1:]
    assert [s.splitlines()[0] for s in sections] == list(NODE_CONFIGS)
    for section, config in zip(sections, NODE_CONFIGS.values(), strict=True):
        assert [r.split("`")[1] for r in section.splitlines() if r.startswith("| `")] == [
            p.name for p in parameters_of(config) if p.exposed
        ]


@pytest.mark.parametrize(
    ("declared", "row"),
    [
        (
            ("rate", 5.0, "How often", {"unit": "Hz", "minimum": 0.1, "maximum": 100.0}),
            ["`rate`", "double", "`5.0`", "Hz", "0.1 … 100", "", "How often"],
        ),
        (
            ("seed", -1, "Of the noise", {"live": True}),
            ["`seed`", "int", "`-1`", "", "", "yes", "Of the noise"],
        ),
        (("sim", False, "In time", {}), ["`sim`", "bool", "`false`", "", "", "", "In time"]),
        (
            ("engine", "auto", "How", {"choices": ("auto", "torch")}),
            ["`engine`", "string", '`"auto"`', "", "`auto`, `torch`", "", "How"],
        ),
        (("topics", (), "Which", {}), ["`topics`", "string[]", "`[]`", "", "", "", "Which"]),
        (
            ("seed", 0, "x", {"minimum": 0, "maximum": 2**31 - 1}),
            ["`seed`", "int", "`0`", "", "0 … 2147483647", "", "x"],
        ),
        (("low", 1, "x", {"minimum": 1}), ["`low`", "int", "`1`", "", "≥ 1", "", "x"]),
        (("high", 1, "x", {"maximum": 9}), ["`high`", "int", "`1`", "", "≤ 9", "", "x"]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_row_shows_type_default_unit_range_and_whether_the_parameter_is_live(declared, row):
    name, default, description, metadata = declared
    assert last_row(name, default, description, **metadata) == row


def test_a_bar_in_a_description_does_not_break_the_table():
    assert last_row("x", 1, "a|b")[-1] == r"a\|b"


def test_check_fails_for_a_missing_and_for_an_outdated_page(tmp_path, capsys):
    path = tmp_path / "parameters.md"
    assert main(["--check", "--page", str(path)]) == 1
    assert main(["--page", str(path)]) == 0
    assert main(["--check", "--page", str(path)]) == 0
    path.write_text(path.read_text() + "\n")
    assert main(["--check", "--page", str(path)]) == 1
    assert (
        "is out of date: run python -m groot_ros.bridge.parameter_docs" in capsys.readouterr().out
    )
