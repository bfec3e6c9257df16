# SPDX-License-Identifier: Apache-2.0
"""Regression test of the demo checkpoint on a recorded run, as users would write their own."""

import json
import shutil
from pathlib import Path

import pytest
from support.record_golden_run import CHUNKS, FOLDER, OPTIONS

from groot_ros.cli.main import main

BAG, GOLDEN = FOLDER / "bag", FOLDER / "golden.json"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """JSON of one evaluation of the run, compared with the golden one."""
    out = tmp_path_factory.mktemp("evaluation")
    arguments = ["--json", str(out / "result.json"), "--out", str(out), "--golden", str(GOLDEN)]
    assert main(["evaluate", str(BAG), *OPTIONS, *arguments]) == 0
    return json.loads((out / "result.json").read_text())


def evaluate(tmp_path: Path, *more: str) -> int:
    out = ["--out", str(tmp_path / "out")]
    return main(["evaluate", str(BAG), *OPTIONS, "--no-reproduction", *out, *more])


def test_the_demo_checkpoint_still_predicts_what_it_predicted(result: dict) -> None:
    (policy,) = result["policies"]
    summary = policy["all_joints"]["rad"]
    assert summary["error"] < 0.6 * summary["hold"]
    low, high = summary["better_than_hold"]
    assert low < summary["hold"] - summary["error"] < high


def test_chunks_of_the_recorded_run_are_reproduced(result: dict) -> None:
    recorded = result["policies"][0]["episodes"][0]["recorded_chunks"]
    assert recorded["recorded"] >= CHUNKS
    assert recorded["not_reproducible"] == {}
    # On another CPU than that of the recording the last bits differ.
    if recorded["differing"]:
        assert recorded["largest_difference"]["value"] < 1e-3


def test_two_evaluations_differ_only_in_their_times(result: dict, tmp_path: Path) -> None:
    file = tmp_path / "again.json"
    out = ["--out", str(tmp_path / "out"), "--json", str(file)]
    assert main(["evaluate", str(BAG), *OPTIONS, *out]) == 0
    again = json.loads(file.read_text())
    assert again.pop("times") != result.get("times")
    assert again == {key: value for key, value in result.items() if key != "times"}


def test_two_policies_with_equal_chunks_are_said_to_be_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(OPTIONS[OPTIONS.index("--checkpoint") + 1], tmp_path / "copy")
    first, second = tmp_path / "golden.json", tmp_path / "out"
    assert evaluate(tmp_path, "--checkpoint", str(copy), "--json", str(first)) == 0
    assert "observations; negative: the second one is better. All chunks are equal." in (
        capsys.readouterr().out
    )
    assert evaluate(second, "--checkpoint", str(copy), "--golden", str(first)) == 0
    assert "chunks, no difference" in capsys.readouterr().out


def test_a_changed_prediction_fails_with_the_joint_and_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = json.loads(GOLDEN.read_text())
    golden["settings"]["reproduce"] = False
    episode = golden["policies"][0]["episodes"][0]
    time = episode["chunks"]["times"][3]
    episode["chunks"]["predicted"][3][5][episode["joints"].index("elbow_flex")] += 0.25
    changed = tmp_path / "golden.json"
    changed.write_text(json.dumps(golden))
    assert evaluate(tmp_path, "--golden", str(changed)) == 1
    error = capsys.readouterr().err
    assert f"1 of {len(episode['chunks']['times'])} chunks differ by more than 0.001" in error
    assert f"joint 'elbow_flex', step 5 of the chunk at {time:.3f} s of 'bag'" in error
    assert evaluate(tmp_path, "--golden", str(changed), "--tolerance", "0.3") == 0


def test_a_recorded_observation_needs_neither_robot_nor_embodiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = OPTIONS[OPTIONS.index("--checkpoint") + 1]
    options = ["--checkpoint", checkpoint, "--seed", "0"]
    seen = tmp_path / "seen.npz"
    out = ["--out", str(tmp_path / "actions.npz"), "--save-observation", str(seen)]
    assert main(["infer", "--bag", str(BAG), "--at", "3", *options, *out]) == 0
    printed = capsys.readouterr().out
    assert "embodiment new_embodiment, robot so101_table" in printed
    assert f"observation saved in {seen}" in printed
    assert seen.exists()
    assert main(["infer", "--observation", str(seen), *options]) == 2
    assert "--embodiment is required with --observation" in capsys.readouterr().err
