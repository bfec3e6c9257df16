# SPDX-License-Identifier: Apache-2.0
"""The commands on data sets: what they print, their exit status, and their mistakes."""

from pathlib import Path

import pytest
from support.robot_bags import RobotRun

from groot_ros.cli.main import main


def run(*words: object) -> int:
    return main(["dataset", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for number in range(3):
        RobotRun(seconds=1.5).write(folder / f"run{number}")
    RobotRun(seconds=0.3).write(folder / "short")
    return folder


@pytest.fixture(scope="module")
def data(bags: Path) -> Path:
    out = bags / "data"
    good = [bags / f"run{number}" for number in range(3)]
    assert run("from-bags", *good, out, "--robot", "so101", "--jobs", 1) == 0
    return out


def test_from_bags_prints_the_episodes_and_check_finds_nothing(bags, data, tmp_path, capsys):
    status = run(
        *("from-bags", bags / "run0", bags / "short", tmp_path / "out"),
        *("--robot", "so101", "--jobs", 1, "--task", "pick it up"),
    )
    printed = capsys.readouterr()
    assert status == 1
    assert "1 episode, 45 rows at 30 Hz, 2 cameras" in printed.out
    assert "pick it up" in printed.out
    assert f"{bags / 'short'}: not converted: " in printed.out
    assert "fewer than the horizon of 16" in printed.err
    assert run("check", tmp_path / "out", "--jobs", 1) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_check_fails_on_an_error(data, tmp_path, capsys):
    assert run("merge", data, tmp_path / "copy") == 0
    (tmp_path / "copy" / "meta" / "modality.json").unlink()
    assert run("check", tmp_path / "copy", "--jobs", 1) == 1
    printed = capsys.readouterr().out
    assert "error: meta/modality.json: is missing" in printed
    assert "1 error, 0 warnings" in printed


def test_split_and_merge_keep_all_episodes(data, tmp_path, capsys):
    assert run("split", data, tmp_path / "a", tmp_path / "b", "--share", 0.67) == 0
    printed = capsys.readouterr().out
    assert "2 episodes written to" in printed
    assert "1 episode written to" in printed
    assert run("merge", tmp_path / "a", tmp_path / "b", tmp_path / "c", "--format", "v3.0") == 0
    assert "3 episodes written to" in capsys.readouterr().out


def test_to_bag_writes_the_chosen_episodes(data, tmp_path, capsys):
    assert run("to-bag", data, tmp_path / "bags", "--episodes", "1-2", "--jobs", 1) == 0
    assert "2 bags written" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "bags").iterdir())
    assert names == ["episode_000001", "episode_000002"]
    assert run("to-bag", data, tmp_path / "bags", "--episodes", "1", "--jobs", 1) == 1
    assert "already exists" in capsys.readouterr().err


def test_actions_from_the_state_come_with_a_warning(bags, tmp_path, capsys):
    status = run(
        *("from-bags", bags / "run0", tmp_path / "out", "--action", "from-state"),
        *("--robot", "so101", "--jobs", 1),
    )
    assert status == 0
    assert "a weak grip is learnt" in capsys.readouterr().err


def test_a_report_next_to_the_bags_is_left_out_and_named(bags, tmp_path, capsys):
    report = tmp_path / "run0_report"
    report.mkdir()
    (report / "table.txt").touch()
    given = (bags / "run0", report, tmp_path / "v3", "--robot", "so101", "--jobs", 1)
    assert run("from-bags", *given, "--format", "v3.0") == 0
    printed = capsys.readouterr()
    assert f"left out {report}: a report, not a recording" in printed.err
    assert f"written to {tmp_path / 'v3'} for LeRobot; groot-ros itself reads v2.1" in printed.out
    assert "groot-ros dataset check" not in printed.out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("check", "nowhere"), "there is no data set at nowhere"),
        (("check", "nowhere", "--horizon", "0"), "--horizon must be at least 1, not 0"),
        (("from-bags", "nowhere", "out", "--jobs", "1"), "none of the 1 bags could be converted"),
        (("from-bags", "nowhere", "out", "--jobs", "0"), "the number of jobs must be at least 1"),
        (("from-bags", "nowhere", "out", "--fps", "-1"), "--fps must be positive, not -1"),
        (("split", "DATA", "a", "b", "--share", "1.5"), "the share must be between 0 and 1"),
        (("split", "DATA", "a", "b", "--episodes", "x"), "episodes must look like 0-9,12, not 'x'"),
        (("split", "DATA", "a", "b", "--episodes", "0-2"), "one of the two data sets would be"),
        (("from-bags", "bag", "out", "--max-duplicates", "nan"), "must be from 0 to 1, not nan"),
        (("split", "DATA", "a", "b", "--episodes", "9"), "has no episode 9: it has 0 to 2"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(words, problem, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*(data if word == "DATA" else word for word in words)) == 2
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert run("check", "nowhere") == 2
    assert (
        "need the Python package av: pip install 'groot_ros[datasets]'" in capsys.readouterr().err
    )
