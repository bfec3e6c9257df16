# SPDX-License-Identifier: Apache-2.0
"""The command line: help with examples, one-line errors, exit statuses."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from groot_ros.bringup.arguments import ARGUMENTS, DEMO_ARGUMENTS, resolve
from groot_ros.bringup.node_graph import demo_graph, policy_graph
from groot_ros.cli import operator
from groot_ros.cli.main import main, make_parser, verb_names
from groot_ros.cli.up import instruction_hints, launch_values
from groot_ros.core.share import demo_checkpoint


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


def test_the_list_of_verbs_needs_neither_ros_nor_a_package_of_an_extra() -> None:
    code = (
        "import sys\n"
        "missing = 'rclpy textual rosbags matplotlib mujoco onnx onnxruntime tensorrt'.split()\n"
        "sys.modules.update(dict.fromkeys(missing))\n"
        "from groot_ros.cli.main import main\n"
        "main(['--help'])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(verb in shown.stdout for verb in verb_names())


@pytest.mark.parametrize(
    ("missing", "extra", "words"),
    [
        ("pyarrow", "datasets", ("evaluate", "DATA", "--checkpoint", "nowhere")),
        ("rosbags", "bags", ("evaluate", "BAG", "--checkpoint", "nowhere")),
        ("mcap", "bags", ("bag", "info", "BAG")),
    ],
)
def test_a_missing_package_is_one_line_that_names_the_extra(
    tmp_path, missing, extra, words
) -> None:
    (tmp_path / "DATA" / "meta").mkdir(parents=True)
    (tmp_path / "DATA" / "meta" / "info.json").write_text("{}")
    (tmp_path / "BAG").mkdir()
    code = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{missing}':\n"
        "            raise ModuleNotFoundError(f'No module named {name}', name=name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        f"from groot_ros.cli.main import main; sys.exit(main({list(words)}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert shown.returncode == 2, shown.stderr
    assert shown.stderr == (
        f"groot-ros {words[0]}: this needs the Python package {missing}: "
        f"pip install 'groot_ros[{extra}]'\n"
    )


def test_a_module_with_add_parser_is_a_verb_and_others_are_not() -> None:
    assert set(verb_names()) == {
        *(
            "bag",
            "cameras",
            "contract",
            "dataset",
            "demo",
            "doctor",
            "engine",
            "episode",
            "evaluate",
            "foxglove",
            "infer",
            "inspect",
            "prompt",
            "replay",
            "report",
            "sim",
            "train",
        ),
        *("say", "stop", "hold", "release", "estop", "resume", "reset", "step", "status", "up"),
    }


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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--seconds", "0"], "--seconds must be from 1 to 3600"),
        (["--scenes", "0"], "--scenes must be from 1 to 1000"),
        (
            ["--seconds", "5"],
            "--seconds is for robots without tasks: give --scenes for",
        ),
        (["--robot", "arm7", "--scenes", "3"], "--scenes is for tasks: give --seconds for arm7"),
        (["--task", " ,"], "--task ' ,' names no task"),
        (["--task", "stack"], "there is no simulator task 'stack' (tasks: pick_place, push,"),
        (["--task", "reach,vima"], "task 'reach' is for the robot so101_table, not for arm7_suct"),
        (["--robot", "so101", "--task", "reach"], "task 'reach' is for the robot so101_table"),
        (
            ["--robot", "so101_table", "--task", "vima"],
            "task 'vima/put_into' is for the robot arm7_suction_table, not for so101_table",
        ),
        (
            ["--task", "vima", "--checkpoint", str(demo_checkpoint("so101_table"))],
            "its actions are chunks, but tasks vima/... need poses on a table",
        ),
        (
            ["--checkpoint", str(demo_checkpoint("arm7_suction_table"))],
            "its actions are poses on a table, but the tasks of so101_table need chunks",
        ),
        (["--cut", "joint_states"], "--cut joint_states is not a command topic of the robot"),
    ],
)
def test_a_demo_with_wrong_options_is_rejected(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *options]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "robot"),
    [
        (["up"], "so101"),
        (["up", "--sim"], "so101_table"),
        (["up", "--sim", "--robot", "so101"], "so101"),
        (["demo"], "so101_table"),
        (["demo", "--robot", "arm7"], "arm7"),
        (["demo", "--task", "vima"], "arm7_suction_table"),
    ],
)
def test_the_robot_at_the_table_is_the_default_of_the_simulator_only(
    options: list[str], robot: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    arguments = DEMO_ARGUMENTS if options[0] == "demo" else ARGUMENTS
    values = launch_values(make_parser(options[:1]).parse_args(options), arguments)
    is_policy = options == ["up"]
    graph = (policy_graph if is_policy else demo_graph)({**values, "checkpoint": str(tmp_path)})
    assert {Path(str(p.parameters["robot"])).stem for p in graph.processes} == {robot}


@pytest.mark.parametrize("command", [[], ["bag"], ["contract"], ["engine"]])
def test_without_a_verb_or_an_action_the_help_is_printed(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    printed = capsys.readouterr()
    assert "examples:" in printed.out
    assert printed.err == ""


def test_an_operator_command_loads_neither_torch_nor_other_verbs() -> None:
    code = (
        "import sys; from groot_ros.cli.main import main\n"
        "status = main(['say', ' '])\n"
        "loaded = {'torch', 'mujoco', 'textual', 'groot_ros.cli.demo', 'groot_ros.cli.infer'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
        "sys.exit(status)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 2
    assert shown.stderr == (
        "groot-ros say: the instruction is empty, which stops: use groot-ros stop\n"
    )


@pytest.mark.ros
@pytest.mark.parametrize("verb", [["stop"], ["status"], ["cameras", "save"]])
def test_a_domain_that_is_no_number_is_reported_in_one_line(verb: list[str]) -> None:
    code = "import sys; from groot_ros.cli.main import main; sys.exit(main(sys.argv[1:]))"
    shown = subprocess.run(
        [sys.executable, "-c", code, *verb],
        capture_output=True,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": "abc"},
    )
    assert shown.returncode == 2
    assert shown.stderr.startswith(f"groot-ros {verb[0]}: ROS 2 cannot be started: ")
    assert "ROS_DOMAIN_ID is not an integral number" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["rclpy", "std_srvs", "groot_ros.srv"])
def test_a_command_without_ros_says_so_in_one_line(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operator, "run", Mock(side_effect=ImportError("missing", name=module)))
    assert main(["stop"]) == 2
    assert capsys.readouterr().err == (
        "groot-ros stop: ROS 2 is not there (missing): source it, then try again\n"
    )
    monkeypatch.setattr(operator, "run", Mock(side_effect=ImportError("bug", name="groot_ros.x")))
    with pytest.raises(ImportError, match="bug"):
        main(["stop"])


def test_invisible_text_is_no_instruction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", "\u200b\ufeff"]) == 2
    assert "the instruction is empty, which stops: use groot-ros stop" in capsys.readouterr().err


def test_a_namespace_of_cameras_that_is_no_name_is_rejected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["cameras", "save", "--namespace", "a b"]) == 2
    assert "namespace 'a b' is not a ROS name" in capsys.readouterr().err


def test_a_timeout_that_is_no_time_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("nan", "0", "soon"):
        with pytest.raises(SystemExit, match="2"):
            main(["stop", "--timeout", value])
        assert f"must be from 0 to 3600 s, not '{value}'" in capsys.readouterr().err


def test_up_names_the_command_that_gives_an_instruction() -> None:
    (line,) = instruction_hints("left", shipped=False)
    assert line.endswith("groot-ros say pick up the cube --namespace left")
    line, known = instruction_hints("", shipped=True)
    assert line.endswith("groot-ros say touch the red cube")
    assert known.endswith("put the red|green|blue cube into the bowl")
