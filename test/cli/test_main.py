"""The command line: help with examples, one-line errors, exit statuses."""

import subprocess
import sys

import pytest

from groot_ros.cli.main import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "example" in text
    assert f"groot-ros {verb}" in text


def test_the_list_of_verbs_is_shown_without_importing_torch_or_ros() -> None:
    code = (
        "import sys; from groot_ros.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'rclpy', 'matplotlib'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(verb in shown.stdout for verb in VERBS)


def test_up_without_a_checkpoint_says_what_to_give_and_starts_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["up"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("groot-ros up: checkpoint is not set")
    assert error.count("\n") == 1


def test_a_report_of_something_that_is_no_bag_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("nothing")
    assert main(["report", str(folder)]) == 2
    assert "is not a bag: it has no metadata.yaml" in capsys.readouterr().err


def test_a_demo_of_no_time_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "0"]) == 2
    assert "--seconds must be from 1 to 3600" in capsys.readouterr().err
