# SPDX-License-Identifier: Apache-2.0
"""The page of checks: `python test/checks/test_page.py --write` updates its table."""

import sys
from pathlib import Path

from groot_ros.checks import CHECKS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
BEGIN, END = "<!-- checks: generated -->", "<!-- end of checks -->"


def table() -> str:
    """Return one row for each check."""
    rows = ["| check | finding | compares | remedy |", "|---|---|---|---|"]
    rows += [f"| `{c.name}` | {c.severity.value} | {c.compares} | {c.remedy} |" for c in CHECKS]
    return "\n".join(rows)


def test_the_page_has_the_table_of_all_checks() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == table(), "run: python test/checks/test_page.py --write"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python test/checks/test_page.py --write")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
