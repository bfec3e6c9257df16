"""JSON files key by key, and files that may not be read."""

from pathlib import Path

import pytest

from groot_ros.core.fields import CheckpointError, Fields, unreadable


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
def test_a_whole_number_has_an_upper_end_where_one_is_given(value: int, fits: bool) -> None:
    fields = Fields({"a": value}, "x")
    assert fields.integer("a") == value
    if fits:
        assert fields.integer("a", at_most=100) == value
        return
    with pytest.raises(CheckpointError, match=f"x: 'a' must be at most 100, not {value}"):
        fields.integer("a", at_most=100)


def test_a_closed_folder_is_what_has_to_be_opened(
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


def test_a_directory_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory; a file is expected"):
        Fields.read(tmp_path)
