# SPDX-License-Identifier: Apache-2.0
"""The directory of a training run: what is refused, resumed, damaged, and kept after a failure."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from support.training_run import losses_of

from groot_ros.cli.main import main
from groot_ros.training.run import train
from groot_ros.training.settings import TrainSettings


def test_an_output_directory_that_is_not_empty_is_refused(settings: TrainSettings) -> None:
    Path(settings.out).mkdir()
    (Path(settings.out) / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"is not empty: choose another --out, or .*--resume"):
        train(settings)


def test_a_run_that_failed_before_its_first_result_can_be_started_again(
    settings: TrainSettings,
) -> None:
    with pytest.raises(ValueError, match="cache_features"):
        train(replace(settings, cache_features=True, tune_llm="on", tune_visual="off"))
    assert (Path(settings.out) / "train.json").is_file()
    assert train(replace(settings, steps=1)).finished
    with pytest.raises(ValueError, match="is not empty"):
        train(settings)


def test_a_run_is_not_resumed_with_other_actions(settings: TrainSettings, tmp_path: Path) -> None:
    data = Path(shutil.copytree(settings.data[0], tmp_path / "data"))
    own = replace(settings, data=(str(data),), held_out=0.0)
    train(replace(own, leg_minutes=1e-9))
    rows = next(data.rglob("*.parquet"))
    table = pq.read_table(rows)
    action = table["action"].to_pylist()
    action[3] = [value + 0.1 for value in action[3]]
    column = pa.array(action, table["action"].type)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", column), rows)
    with pytest.raises(ValueError, match=r"cannot be resumed: .* are not those with which the run"):
        train(replace(own, resume=True))


def test_a_run_is_resumed_only_with_the_same_settings(settings: TrainSettings) -> None:
    train(replace(settings, leg_minutes=1e-9))
    with pytest.raises(ValueError, match=r"batch_size is 8, but the run began with 4"):
        train(replace(settings, resume=True, batch_size=8))


def test_there_must_be_a_run_to_resume(settings: TrainSettings) -> None:
    with pytest.raises(ValueError, match="there is no run to resume"):
        train(replace(settings, resume=True))


def test_a_directory_in_which_another_process_trains_is_left_alone(settings: TrainSettings) -> None:
    base = Path(settings.out) / "base"
    base.mkdir(parents=True)
    with (base.parent / "train.json").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another process trains into .*/out: wait for its"):
            train(settings)
    assert base.is_dir()
    assert train(settings).finished


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("train.json", r"train\.json: is not valid JSON"),
        ("state/progress.json", r"progress\.json: is not valid JSON"),
        ("state/weights.safetensors", r"weights\.safetensors cannot be read: .*; start a new run"),
        ("metrics.jsonl", r"metrics\.jsonl, line 1 is damaged: delete the line"),
    ],
)
def test_a_damaged_file_of_a_run_is_named_when_it_is_resumed(
    settings: TrainSettings, file: str, problem: str
) -> None:
    train(replace(settings, leg_minutes=1e-9))
    (Path(settings.out) / file).write_text('{"step": \n')
    with pytest.raises(ValueError, match=problem):
        train(replace(settings, resume=True))


def test_a_run_goes_on_after_its_last_line_of_metrics_was_cut_off(settings: TrainSettings) -> None:
    train(replace(settings, leg_minutes=1e-9))
    with (Path(settings.out) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    assert train(replace(settings, resume=True)).finished
    assert len(losses_of(settings)) == 2


def test_a_damaged_file_of_decoded_frames_is_named(settings: TrainSettings, tmp_path: Path) -> None:
    own = replace(settings, frame_cache=str(tmp_path / "frames"))
    train(replace(own, leg_minutes=1e-9))
    for file in (tmp_path / "frames").iterdir():
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"\.npy, frames of .*, is damaged .*: delete the file"):
        train(replace(own, resume=True))


@pytest.mark.slow
def test_sigterm_to_all_processes_of_a_run_saves_its_state(settings: TrainSettings) -> None:
    options = [f"--{n.replace('_', '-')}={getattr(settings, n)}" for n in ("checkpoint", "out")]
    options += ["--data", *settings.data, "--device=cpu", "--threads=1", "--workers=2"]
    options += ["--batch-size=4", "--steps=100000", "--log-every=1", "--save-every=100000"]
    command = [sys.executable, "-m", "groot_ros.cli", "train", *options]
    with subprocess.Popen(
        command, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("step 1:"):
                break
        os.killpg(run.pid, signal.SIGTERM)
        printed = run.stdout.read()
    assert run.returncode == 0, printed
    assert printed.count("stopping after this step; the state will be saved") == 1
    assert (Path(settings.out) / "state" / "progress.json").is_file()


def test_a_training_that_diverges_keeps_what_was_saved(
    settings: TrainSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("data", "checkpoint", "out", "frame_cache")
    options = [f"--{n.replace('_', '-')}={getattr(settings, n)}" for n in names if n != "data"]
    options += ["--data", *settings.data, "--device=cpu", "--batch-size=4", "--crop=centre"]
    options += ["--learning-rate=1e30", "--clip=0", "--warmup=0", "--steps=6", "--save-every=1"]
    assert main(["train", *options]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"step \d: the weights are not finite, so the training has diverged", error)
    last = Path(settings.out) / "last"
    assert f"{last} is of an earlier step" in error
    assert all(
        torch.isfinite(tensor).all() for tensor in load_file(last / "model.safetensors").values()
    )
