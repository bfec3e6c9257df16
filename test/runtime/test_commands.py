"""Commands that messages tell people to type."""

import re
from pathlib import Path

import pytest
import torch
from support.manifests import parsed_hint

import groot_ros
from groot_ros.runtime.commands import build_command, engine_command, make_command
from groot_ros.runtime.engines import obstacle

PACKAGE = Path(groot_ros.__file__).parent


def test_values_are_quoted_and_empty_ones_left_out() -> None:
    command = engine_command("export", checkpoint="/my pick", steps=(4, 2), backbone_assets="")
    assert command == "groot-ros engine export --checkpoint '/my pick' --steps 4 2"


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (make_command(), "make"),
        (make_command(Path("engines/pick")), "make"),
        (build_command(Path("my engines")), "build"),
        (obstacle("onnxruntime", torch.device("cpu"), None), "make"),
    ],
)
def test_every_command_is_one_that_the_parser_takes(command: str, action: str) -> None:
    assert parsed_hint(command).action == action


def test_messages_spell_no_command_out_by_themselves() -> None:
    """Every other hint comes from here, so a renamed option cannot leave an old one behind."""
    rooms = [PACKAGE / room for room in ("runtime", "export", "policy", "models", "processing")]
    spelt = re.compile(r"with:? \(?groot-ros |: groot-ros engine")
    found = [
        str(file)
        for room in rooms
        for file in room.rglob("*.py")
        if spelt.search(file.read_text(encoding="utf-8"))
    ]
    assert found == []
