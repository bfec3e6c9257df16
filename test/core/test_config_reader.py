# SPDX-License-Identifier: Apache-2.0
"""JSON and YAML read key by key: each error names the file and the key."""

import os
from pathlib import Path

import pytest

from groot_ros.core.config_reader import (
    CheckpointError,
    ConfigError,
    Fields,
    unreadable,
)
from groot_ros.core.printable import printable


class RobotError(ConfigError):
    """Substitute for the error type of another kind of file."""


def test_a_number_of_thousands_of_digits_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": ' + "9" * 5000 + "}")
    with pytest.raises(CheckpointError, match=r"is not valid JSON: .*digits") as caught:
        Fields.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_number_beyond_floating_point_names_the_key() -> None:
    with pytest.raises(CheckpointError, match="x: 'a' is larger than any number here: 1000"):
        Fields({"a": 10**400}, "x").number("a")


@pytest.mark.parametrize(("value", "fits"), [(1, True), (100, True), (101, False), (10**9, False)])
def test_a_whole_number_is_checked_against_its_upper_limit(value: int, fits: bool) -> None:
    fields = Fields({"a": value}, "x")
    assert fields.integer("a") == value
    if fits:
        assert fields.integer("a", at_most=100) == value
        return
    with pytest.raises(CheckpointError, match=f"x: 'a' must be at most 100, not {value}"):
        fields.integer("a", at_most=100)


def test_the_error_names_the_folder_whose_permissions_must_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "closed" / "config.json"
    denied = PermissionError(13, "Permission denied")
    assert str(unreadable(path.parent, denied)).endswith(f"chmod u+rX {path.parent}, as its owner")
    monkeypatch.setattr("os.access", lambda place, mode: place != path.parent)
    assert str(unreadable(path, denied)) == (
        f"{path}: cannot be read: Permission denied; "
        f"let this user read it: chmod u+rX {path.parent}, as its owner"
    )


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory; a file is expected"):
        Fields.read(tmp_path)


def test_a_json_key_given_twice_is_named_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": {"x": 1, "y": 2, "x": 3}}')
    with pytest.raises(CheckpointError) as caught:
        Fields.read(path)
    assert str(caught.value) == f"{path}: is not valid JSON: key 'x' is given twice"


def test_a_yaml_key_given_twice_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("a:\n  x: 1\n  x: 2\n")
    with pytest.raises(RobotError, match=r"key 'x' is given twice .* line 3") as caught:
        Fields.read(path, error_type=RobotError)
    assert str(caught.value).startswith(f"{path}: is not valid YAML: ")
    assert "\n" not in str(caught.value)


def test_the_name_of_a_file_decides_the_syntax_unless_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "robot.conf"
    path.write_text("a: 1\n")
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        Fields.read(path)
    assert Fields.read(path, syntax="yaml").integer("a") == 1


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_an_error_names_the_path_of_keys_in_both_syntaxes(syntax) -> None:
    fields = Fields.parse('{"a": {"b": {"c": "x"}}}', "file", syntax=syntax)
    with pytest.raises(CheckpointError) as caught:
        fields.section("a").section("b").number("c")
    assert str(caught.value) == "file: a.b: 'c' must be a number, not 'x'"


def test_null_is_the_default_in_json_and_an_error_in_yaml() -> None:
    assert Fields.parse('{"a": null}', "file").number("a", 2.0) == 2.0
    with pytest.raises(CheckpointError, match="'a' must be a number, not nothing"):
        Fields.parse("a:\n", "file", syntax="yaml").number("a", 2.0)


def test_a_number_that_is_not_finite_is_an_error_in_yaml() -> None:
    assert Fields.parse('{"a": Infinity}', "file").number("a") == float("inf")
    with pytest.raises(CheckpointError, match="'a' must be finite, not inf"):
        Fields.parse("a: .inf", "file", syntax="yaml").number("a")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"above": 3}, "must be greater than 3, not 3"),
        ({"at_least": 4}, "must be at least 4, not 3"),
        ({"at_most": 2}, "must be at most 2, not 3"),
        ({"at_least": 4, "at_most": 9}, r"is 3, out of range \[4, 9\]"),
    ],
)
def test_a_number_is_checked_against_its_range(limits, problem) -> None:
    with pytest.raises(CheckpointError, match=f"^x: 'a' {problem}$"):
        Fields({"a": 3}, "x").number("a", **limits)


@pytest.mark.parametrize("limits", [{"above": 0}, {"at_least": 0}, {"at_most": 1}])
def test_nan_is_in_no_range(limits) -> None:
    with pytest.raises(CheckpointError, match=r"'a' .* nan|'a' is nan"):
        Fields({"a": float("nan")}, "x").number("a", **limits)


def test_finish_rejects_a_key_that_was_never_requested_and_lists_the_known_ones() -> None:
    fields = Fields({"speed": 1.0, "sped": 2.0}, "x")
    assert fields.number("speed") == 1.0
    assert not fields.has("mass")
    with pytest.raises(CheckpointError) as caught:
        fields.finish()
    assert str(caught.value) == "x: 'sped' is not a key here (known: mass, speed)"


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=f"^{path}: is not a text file"):
        Fields.read(path)


def test_an_interval_with_an_integer_beyond_float64_is_rejected(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(f"position: [{10**400}, 1.0]")
    with pytest.raises(ConfigError, match="'position' must be two numbers"):
        Fields.read(file).interval("position")


def test_an_integer_that_other_libraries_cannot_hold_is_rejected(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(f"width: {10**30}")
    with pytest.raises(ConfigError, match="'width' must be at most 9007199254740992"):
        Fields.read(file).integer("width")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("velocity: 1:30", "line 1, column 11: 1:30 is a number in base 60 in YAML"),
        ("a: 1\nrate: 010", "line 2, column 7: 010 is a number in base 8 in YAML"),
        ("a: 1:30.5", "1:30.5 is a number in base 60"),
        ("joints: {no: 1}", "line 1, column 10: no means false in YAML: put it in quotes"),
        ("joints: [a, on]", "on means true in YAML: put it in quotes"),
    ],
)
def test_what_yaml_reads_otherwise_than_people_is_an_error_with_its_place(text, message):
    with pytest.raises(ConfigError) as error:
        Fields.parse(text, "arm.yaml", syntax="yaml", error_type=ConfigError)
    assert message in str(error.value)


def test_quoted_words_and_ordinary_numbers_stay_what_they_are():
    text = "{'no': [\"on\", '1:30'], a: 0, b: -0.5, c: 0x10, d: true, e: yes, f: 1e3}"
    value = Fields.parse(text, "arm.yaml", syntax="yaml").value
    assert value == {
        "no": ["on", "1:30"],
        "a": 0,
        "b": -0.5,
        "c": 16,
        "d": True,
        "e": True,
        "f": "1e3",
    }


def test_a_pipe_is_rejected_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "arm.yaml")
    with pytest.raises(ConfigError, match="is a device, a pipe or a socket, not a file"):
        Fields.read(tmp_path / "arm.yaml", error_type=ConfigError)


def test_a_file_of_50_mb_is_rejected_before_it_is_read(tmp_path):
    file = tmp_path / "arm.yaml"
    with file.open("wb") as opened:
        opened.truncate(50_000_000)
    with pytest.raises(ConfigError, match=r"50,000,000 bytes, at most 1,000,000 characters"):
        Fields.read(file, error_type=ConfigError)


def test_a_text_for_the_log_is_one_line_escaped_and_cut():
    assert printable("\x1b[2J\x1b[31m\nfake line") == r"\x1b[2J\x1b[31m\nfake line"
    assert len(printable("x" * 100_000)) == 200
    assert printable("schön, ロボット") == "schön, ロボット"
