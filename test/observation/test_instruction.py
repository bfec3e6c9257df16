"""The newest instruction counts, and each change of it has a number."""

from groot_ros.observation.instruction import LONGEST, Instruction, InstructionBox, problem


def test_each_change_has_the_next_number_and_a_repetition_has_none():
    box = InstructionBox()
    assert (box.current.id, box.current.stops) == (0, True)
    assert [box.put(text) for text in ("pick", "pick", "", "pick")] == [True, False, True, True]
    assert box.current == Instruction(3, "pick")


def test_a_first_empty_instruction_is_an_instruction_to_stop():
    box = InstructionBox()
    assert box.put("")
    assert (box.current.id, box.current.stops) == (1, True)


def test_the_parameter_only_speaks_first():
    box = InstructionBox()
    box.set_if_unset("")
    assert box.current.id == 0
    box.set_if_unset("from the parameter")
    box.set_if_unset("again")
    assert box.current == Instruction(1, "from the parameter")


def test_a_book_is_no_instruction():
    assert problem("a" * LONGEST) == ""
    assert problem("a" * (LONGEST + 1)) == "the instruction has 2001 characters, at most 2000"


def test_an_instruction_of_only_spaces_is_the_empty_one():
    box = InstructionBox()
    box.put("pick")
    assert box.put("   ")
    assert box.current == Instruction(2, "")
    assert not box.put("")
    assert not box.put(" \t")


def test_control_characters_are_rejected_in_one_line():
    assert problem("pick the cube\n") == ""
    for text in ("pick\0 the cube", "pick\x1b[2J", "pick\nplace"):
        told = problem(text)
        assert told.startswith("the instruction contains the control character '\\")
        assert "\n" not in told
        assert "\0" not in told
