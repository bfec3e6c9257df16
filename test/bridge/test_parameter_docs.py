from pathlib import Path

import pytest

from groot_ros.bridge.parameter_docs import main, page
from groot_ros.bridge.parameter_tables import TABLES
from groot_ros.bridge.parameters import Parameter

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "parameters.md"


def last_row(parameter: Parameter) -> list[str]:
    line = page({"a_node": (parameter,)}).rstrip().splitlines()[-1]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run python -m groot_ros.bridge.parameter_docs"
    )


def test_every_parameter_of_every_node_is_on_the_page():
    sections = page().split("\n## ")[1:]
    assert [s.splitlines()[0] for s in sections] == list(TABLES)
    for section, table in zip(sections, TABLES.values(), strict=True):
        assert [r.split("`")[1] for r in section.splitlines() if r.startswith("| `")] == [
            p.name for p in table
        ]


@pytest.mark.parametrize(
    ("parameter", "row"),
    [
        (
            Parameter("rate", 5.0, "How often", "Hz", 0.1, 100.0, live=True),
            ["`rate`", "double", "`5.0`", "Hz", "0.1 … 100", "yes", "How often"],
        ),
        (
            Parameter("seed", -1, "Of the noise"),
            ["`seed`", "int", "`-1`", "", "", "", "Of the noise"],
        ),
        (
            Parameter("sim", False, "In time"),
            ["`sim`", "bool", "`false`", "", "", "", "In time"],
        ),
        (
            Parameter("engine", "auto", "How", choices=("auto", "torch")),
            ["`engine`", "string", '`"auto"`', "", "`auto`, `torch`", "", "How"],
        ),
        (
            Parameter("topics", [""], "Which"),
            ["`topics`", "string[]", "`[]`", "", "", "", "Which"],
        ),
        (
            Parameter("seed", 0, "x", "", 0, 2**31 - 1),
            ["`seed`", "int", "`0`", "", "0 … 2147483647", "", "x"],
        ),
        (Parameter("low", 1, "x", minimum=1), ["`low`", "int", "`1`", "", "≥ 1", "", "x"]),
        (Parameter("high", 1, "x", maximum=9), ["`high`", "int", "`1`", "", "≤ 9", "", "x"]),
    ],
    ids=lambda p: p.name if isinstance(p, Parameter) else "",
)
def test_a_row_says_type_default_unit_range_and_whether_it_is_live(parameter, row):
    assert last_row(parameter) == row


def test_a_bar_in_a_description_does_not_break_the_table():
    assert last_row(Parameter("x", 1, "a|b"))[-1] == r"a\|b"


def test_check_tells_a_missing_and_an_old_page_from_a_fresh_one(tmp_path, capsys):
    path = tmp_path / "parameters.md"
    assert main(["--check", "--page", str(path)]) == 1
    assert main(["--page", str(path)]) == 0
    assert main(["--check", "--page", str(path)]) == 0
    path.write_text(path.read_text() + "\n")
    assert main(["--check", "--page", str(path)]) == 1
    assert (
        "is out of date: run python -m groot_ros.bridge.parameter_docs" in capsys.readouterr().out
    )
