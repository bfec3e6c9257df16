# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim`: what it prints and writes, and how it reports wrong usage."""

import json

import pytest

from groot_ros.cli.main import main
from groot_ros.core.share import demo_checkpoint
from groot_ros.rollout import evaluate as rollout

COMMON = ["--task", "reach", "--size", "32x32", "--jobs", "1"]


def test_the_expert_is_evaluated_and_the_figures_are_written(tmp_path, capsys):
    out = tmp_path / "new" / "reach.json"
    options = ["--policy", "expert", "--episodes", "2", "--json", str(out)]
    assert main(["sim", "evaluate", *COMMON, *options]) == 0
    line = capsys.readouterr().out
    assert line.startswith("reach: 100% of 2 scenes (95 %: 34% to 100%), after ")
    assert line.endswith("s (median); another cube touched in 0%; no chunk in 0\n")
    found = json.loads(out.read_text())
    assert (found["success_rate"], found["episodes"], found["no_chunk"]) == (1.0, 2, 0)


def test_a_sweep_gives_a_line_and_an_entry_for_each_value(tmp_path, capsys):
    out = tmp_path / "sweep.json"
    options = ["--policy", "expert", "--episodes", "1", "--json", str(out)]
    sweeps = ["--sweep", "delay=0,0.4", "--sweep", "dropout=1"]
    assert main(["sim", "evaluate", *COMMON, *options, *sweeps]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "reach delay=0",
        "reach delay=0.4",
        "reach dropout=1",
    ]
    conditions = json.loads(out.read_text())["conditions"]
    assert [c["success_rate"] for c in conditions.values()] == [1.0, 1.0, 0.0]
    assert [c["no_chunk"] for c in conditions.values()] == [0, 0, 1]
    assert conditions["delay=0.4"]["delay"] == 0.4


def test_the_reason_why_no_chunk_was_executed_is_printed(capsys):
    options = ["--policy", "expert", "--episodes", "1", "--delay", "2.0"]
    assert main(["sim", "evaluate", *COMMON, *options]) == 0
    assert "no chunk in 1 (rejected: too_old " in capsys.readouterr().out


def test_a_sweep_keeps_the_videos_of_each_value(tmp_path, capsys):
    options = ["--policy", "expert", "--episodes", "1", "--videos", str(tmp_path)]
    # The same scene fails without images, and then succeeds.
    assert main(["sim", "evaluate", *COMMON, *options, "--sweep", "dropout=1,0"]) == 0
    videos = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mp4")]
    assert videos == ["dropout=1/reach_0_0000.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["dropout=1"]
    assert capsys.readouterr().out.endswith(f"videos of failures: {tmp_path}\n")


def test_without_a_failure_no_videos_are_announced(tmp_path, capsys):
    options = ["--policy", "expert", "--episodes", "1", "--videos", str(tmp_path)]
    assert main(["sim", "evaluate", *COMMON, *options]) == 0
    assert capsys.readouterr().out.endswith("videos of failures: none\n")


def test_episodes_are_collected_into_a_new_folder(tmp_path, capsys):
    out = tmp_path / "reach"
    assert main(["sim", "collect", *COMMON, "--episodes", "2", "--out", str(out), "--calm"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 episodes, ")
    assert (out / "meta/modality.json").is_file()
    assert main(["sim", "collect", *COMMON, "--episodes", "1", "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delay", "0.1"], "--delay is how a policy acts: give --checkpoint, or leave it out"),
        (["--rtc-mode", "native"], "--rtc-mode is how a policy acts: give --checkpoint"),
        (["--checkpoint", "x", "--delay", "-1"], "--delay must be at least 0, not -1 s"),
        (["--checkpoint", "x", "--rate", "0"], "--rate must be at least 0.1, not 0 Hz"),
        (["--checkpoint", "x", "--delay", "6"], "as an episode of reach takes at most 5 s"),
    ],
)
def test_options_of_a_policy_that_acts_first_are_checked(tmp_path, capsys, options, message):
    out = tmp_path / "reach"
    assert main(["sim", "collect", *COMMON, *options, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "expert", "--episodes", "0"], "--episodes must be at least 1, not 0"),
        (["--policy", "expert", "--seed", "-1"], "--seed must not be negative, not -1"),
        (["--policy", "expert", "--rate", "0"], "--rate must be at least 0.1, not 0 Hz"),
        (["--policy", "expert", "--sweep", "wind=1"], "must be NAME=A,B,... with a NAME of delay"),
        (["--policy", "expert", "--sweep", "delay=a"], "'a' is not a number"),
        (["--policy", "expert", "--steps", "2"], "--steps belongs to a checkpoint"),
        (["--policy", "expert", "--device", "cpu"], "--device belongs to a checkpoint"),
        (["--policy", "expert", "--sweep", "steps=1"], "the expert has no denoising steps"),
        (["--checkpoint", "x", "--sweep", "steps=0.5"], "steps are whole numbers from 1 to 100"),
        (["--checkpoint", "x", "--sweep", "steps=0"], "steps are whole numbers from 1 to 100"),
        (["--checkpoint", "x", "--steps", "2", "--sweep", "steps=4"], "leave out --steps 2, or"),
        (["--policy", "expert", "--delay", "0.1", "--sweep", "delay=1"], "leave out --delay 0.1"),
        (["--checkpoint", "x", "--real-nodes", "--jobs", "2"], "--jobs: with --real-nodes one"),
        (
            ["--checkpoint", "x", "--real-nodes", "--dask", "tcp://host:1"],
            "--dask: with --real-nod",
        ),
        (["--policy", "expert", "--json", "/"], "--json / is a directory: give a file"),
        (["--policy", "expert", "--json", "/dev/null/x.json"], "--json: /dev/null cannot be a"),
        (["--policy", "expert", "--videos", "/dev/null"], "--videos: /dev/null cannot be a"),
        (["--policy", "expert", "--delay", "-1"], "--delay must be at least 0, not -1 s"),
        (["--policy", "expert", "--delay", "200"], "--delay must be at most 10, not 200 s"),
        (["--policy", "expert", "--sweep", "delay=0,6"], "6 s: no chunk would arrive, as an epis"),
        (["--policy", "expert", "--dropout", "2"], "camera_dropout must be from 0 to 1, not 2"),
        (["--policy", "expert", "--rate", "nan"], "--rate must be at least 0.1, not nan"),
        (["--policy", "expert", "--rate", "inf"], "--rate must be at most 100, not inf"),
        (["--policy", "expert", "--delay", "nan"], "--delay must be at least 0, not nan"),
        (["--policy", "expert", "--delay", "1e300"], "--delay must be at most 10, not 1e+300"),
        (["--policy", "expert", "--joint-offset", "nan"], "--joint-offset must be at least -1"),
        (["--policy", "expert", "--camera-shift", "inf"], "--camera-shift must be at most 1"),
        (["--policy", "expert", "--sweep", "delay=0,nan"], "--delay must be at least 0, not nan"),
        (["--policy", "expert", "--sweep", "camera-shift=9"], "--camera-shift must be at most 1"),
        (["--policy", "expert", "--json", "/proc/x.json"], "--json: /proc/x.json cannot be wr"),
    ],
)
def test_wrong_values_are_one_line_and_exit_status_2(capsys, options, message):
    assert main(["sim", "evaluate", *COMMON, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("nodes", [[], ["--real-nodes"], ["--real-nodes", "--lockstep"]])
def test_a_checkpoint_of_another_kind_of_actions_is_one_line(capsys, nodes):
    options = ["--checkpoint", str(demo_checkpoint("arm7_suction_table")), "--episodes", "3"]
    assert main(["sim", "evaluate", *COMMON, *options, *nodes]) == 2
    error = capsys.readouterr().err
    assert "actions of model family 'vima' are poses on a table" in error
    assert error.count("\n") == 1


def test_a_sweep_that_is_stopped_keeps_the_conditions_that_are_done(tmp_path, monkeypatch):
    def stop_at_the_second(settings, *args, **kwargs):
        if settings.loop.delay:
            raise KeyboardInterrupt
        return evaluate(settings, *args, **kwargs)

    evaluate = rollout.evaluate
    monkeypatch.setattr(rollout, "evaluate", stop_at_the_second)
    out = tmp_path / "sweep.json"
    options = ["--policy", "expert", "--episodes", "1", "--json", str(out)]
    assert main(["sim", "evaluate", *COMMON, *options, "--sweep", "delay=0,0.4"]) == 130
    assert list(json.loads(out.read_text())["conditions"]) == ["delay=0"]


def test_an_odd_size_is_refused_before_episodes_are_recorded(tmp_path, capsys):
    options = ["--task", "reach", "--size", "63x64", "--out", str(tmp_path / "odd")]
    assert main(["sim", "collect", *options]) == 2
    assert "--size 63x64: the videos of a data set need even numbers" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["128", "0x10", "axb", "²x²"])
def test_a_wrong_size_is_an_error(capsys, size):
    options = ["--task", "reach", "--size", size, "--policy", "expert"]
    assert main(["sim", "evaluate", *options]) == 2
    assert "--size must be WIDTHxHEIGHT in pixels" in capsys.readouterr().err


def test_an_unknown_task_lists_the_tasks(capsys):
    assert main(["sim", "evaluate", "--task", "stack", "--policy", "expert"]) == 2
    assert "tasks: pick_place, push, reach" in capsys.readouterr().err


PROMPTS = ["--task", "vima/rotate", "--jobs", "1"]


def test_data_of_a_task_with_prompts_are_collected_as_npz_files(tmp_path, capsys):
    out = tmp_path / "rotate"
    assert main(["sim", "collect", *PROMPTS, "--episodes", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 episodes, 2 actions; 0 scenes, in which")
    assert len(list(out.glob("episode_*.npz"))) == 2


def test_the_expert_of_a_task_with_prompts_is_evaluated_on_a_level(tmp_path, capsys):
    out = tmp_path / "rotate.json"
    options = ["--policy", "expert", "--episodes", "2", "--no-arm", "--json", str(out)]
    assert main(["sim", "evaluate", *PROMPTS, *options, "--level", "combination"]) == 0
    assert capsys.readouterr().out == (
        "vima/rotate, combination: 100% of 2 scenes (95 %: 34% to 100%); an action was rejected in "
        "0; another object moved in 0%\n"
    )
    found = json.loads(out.read_text())
    assert (found["success_rate"], found["level"], found["with_arm"]) == (1.0, "combination", False)
    assert found["success_interval_95"][0] == pytest.approx(0.342, abs=0.001)
    assert len(found["outcomes"]) == 2


@pytest.mark.parametrize(
    ("task", "option"),
    [
        ("vima/rotate", "--rate=8"),
        ("vima/rotate", "--size=64x64"),
        ("vima/rotate", "--sweep=delay=1"),
        ("vima/rotate", "--engine=reference"),
        ("vima/rotate", "--steps=2"),
        ("reach", "--level=placement"),
        ("reach", "--no-arm"),
    ],
)
def test_an_option_that_the_task_does_not_have_is_an_error(capsys, task, option):
    assert main(["sim", "evaluate", "--task", task, "--policy", "expert", option]) == 2
    name = option.partition("=")[0]
    assert capsys.readouterr().err == f"groot-ros sim: {name}: task {task} has no such option\n"
