# SPDX-License-Identifier: Apache-2.0
"""The newest instruction applies, and each change of it has the next id."""

import pytest

from groot_ros.core import MAX_INSTRUCTION_LENGTH, instruction_problem, is_blank
from groot_ros.observation.instruction import Instruction, InstructionBox


def test_each_change_has_the_next_id_and_a_repetition_keeps_it():
    box = InstructionBox()
    assert (box.current.id, box.current.stops) == (0, True)
    assert [box.set(text) for text in ("pick", "pick", "", "pick")] == [True, False, True, True]
    assert box.current == Instruction(3, "pick")


def test_a_first_empty_instruction_is_an_instruction_to_stop():
    box = InstructionBox()
    assert box.set("")
    assert (box.current.id, box.current.stops) == (1, True)


def test_the_parameter_only_sets_the_first_instruction():
    box = InstructionBox()
    box.set_if_unset("")
    assert box.current.id == 0
    box.set_if_unset("from the parameter")
    box.set_if_unset("again")
    assert box.current == Instruction(1, "from the parameter")


def test_a_text_that_is_too_long_is_rejected():
    assert instruction_problem("a" * MAX_INSTRUCTION_LENGTH) == ""
    assert (
        instruction_problem("a" * (MAX_INSTRUCTION_LENGTH + 1))
        == "the instruction has 2001 characters, at most 2000"
    )


def test_an_instruction_of_only_spaces_is_the_empty_one():
    box = InstructionBox()
    box.set("pick")
    assert box.set("   ")
    assert box.current == Instruction(2, "")
    assert not box.set("")
    assert not box.set(" \t")


def test_control_characters_are_rejected_in_one_line():
    assert instruction_problem("pick the cube\n") == ""
    for text in ("pick\0 the cube", "pick\x1b[2J", "pick\nplace"):
        found = instruction_problem(text)
        assert found.startswith("the instruction contains the control character '\\")
        assert "\n" not in found
        assert "\0" not in found


@pytest.mark.parametrize(
    "text", ["", " \t", "\u200b", "\ufeff\u2060 \u00ad", "\u3164", "\u2800", "\u0301", "\ufe0f"]
)
def test_an_instruction_without_a_visible_character_stops(text):
    box = InstructionBox()
    box.set("pick")
    assert box.set(text)
    assert box.current == Instruction(2, "")
    assert box.current.stops


@pytest.mark.parametrize(
    "text", ["a\u200b", "\u4e2d", "\u0e01\u0e34", "1", "!", "\U0001f600", "\x00"]
)
def test_an_instruction_with_a_visible_character_is_one(text):
    assert not is_blank(text)
