# SPDX-License-Identifier: Apache-2.0
"""The command line: help with examples, one-line errors, exit statuses."""

import contextlib
import io
import subprocess
import sys

import pytest

from groot_ros.bringup.arguments import resolve
from groot_ros.cli.main import main, make_parser, verb_names
from groot_ros.cli.up import launch_values


@pytest.mark.parametrize("verb", verb_names())
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
    assert all(verb in shown.stdout for verb in verb_names())


def test_a_module_with_add_parser_is_a_verb_and_others_are_not() -> None:
    assert verb_names() == (
        "bag",
        "contract",
        "demo",
        "doctor",
        "engine",
        "infer",
        "inspect",
        "report",
        "up",
    )


def test_a_wrong_verb_is_rejected_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["observations"])
    error = capsys.readouterr().err
    assert all(verb in error for verb in verb_names())


@pytest.mark.parametrize("verb", ["up", "demo"])
def test_the_option_names_of_version_0_1_are_accepted_but_hidden(verb: str) -> None:
    parser = make_parser([verb])
    args = parser.parse_args([verb, "--allow-unproven-engine", "true"])
    assert resolve(launch_values(args))["allow_unvalidated_engine"] == "true"
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as shown:
        parser.parse_args([verb, "--help"])
    assert "--allow-unvalidated-engine" in shown.getvalue()
    assert "unproven" not in shown.getvalue()


def test_up_with_a_wrong_choice_lists_the_present_names_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["up", "--engine", "foo"])
    error = capsys.readouterr().err
    assert "must be one of auto, cuda_graph, onnxruntime, reference" in error
    assert "plain" not in error


def test_up_without_a_checkpoint_is_rejected_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["up"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("groot-ros up: checkpoint is not set")
    assert error.count("\n") == 1


def test_report_rejects_a_directory_that_is_not_a_bag(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path_factory.mktemp("nothing")
    assert main(["report", str(folder)]) == 2
    assert "is not a bag: it has no metadata.yaml" in capsys.readouterr().err


def test_a_demo_of_zero_seconds_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", "0"]) == 2
    assert "--seconds must be from 1 to 3600" in capsys.readouterr().err
