"""Writes docs/reference/parameters.md from the parameter tables.

python -m groot_ros.bridge.parameter_docs           # write the page
python -m groot_ros.bridge.parameter_docs --check   # status 1 when it is out of date
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from groot_ros.bridge.parameter_tables import TABLES
from groot_ros.bridge.parameters import Parameter, Value
from groot_ros.core.share import share_directory

_INTRODUCTION = """\
# Parameters

Made by `python -m groot_ros.bridge.parameter_docs` from `groot_ros/bridge/parameter_tables.py`:
change it there.

A *live* parameter may be changed while the node runs (`ros2 param set`). The others are read in
configure: change them while the node is unconfigured, or run cleanup first. `sim_robot_node` and
`recorder_node` have no lifecycle and read theirs once, at start. A value that is out of range is
rejected with the reason; a double needs no decimal point. All nodes also take ROS's own
`use_sim_time`, read once, at start; `policy_node` and `executor_node` also `autostart` (bool,
default `false`): configure and activate at start.
"""

_COLUMNS = ("parameter", "type", "default", "unit", "range", "live", "description")


def page(tables: Mapping[str, Sequence[Parameter]] = TABLES) -> str:
    """The whole page, as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(*entry) for entry in tables.items())])


def _section(node: str, table: Sequence[Parameter]) -> str:
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, table)]
    return "\n".join([f"## {node}", "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _row(parameter: Parameter) -> tuple[str, ...]:
    return (
        f"`{parameter.name}`",
        _type(parameter.default),
        _default(parameter.default),
        parameter.unit,
        _range(parameter),
        "yes" if parameter.live else "",
        parameter.description.replace("|", r"\|"),
    )


def _type(value: Value) -> str:
    names = {bool: "bool", int: "int", float: "double", str: "string", list: "string[]"}
    return names[type(value)]


def _default(value: Value) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    # ROS cannot tell the type of an empty list: the tables write [""] for it.
    return "`[]`" if value == [""] else f"`{value!r}`".replace("'", '"')


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    low, high = (_bound(bound) for bound in (parameter.minimum, parameter.maximum))
    if not low:
        return f"≤ {high}" if high else ""
    return f"{low} … {high}" if high else f"≥ {low}"


def _bound(bound: float | None) -> str:
    if bound is None:
        return ""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(prog="python -m groot_ros.bridge.parameter_docs")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    parser.add_argument(
        "--page",
        type=Path,
        default=share_directory() / "docs" / "reference" / "parameters.md",
        help="where the page is (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    wanted = page()
    if not args.check:
        args.page.write_text(wanted, encoding="utf-8")
        return 0
    if args.page.is_file() and args.page.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{args.page} is out of date: run python -m groot_ros.bridge.parameter_docs")
    return 1


if __name__ == "__main__":
    sys.exit(main())
