# SPDX-License-Identifier: Apache-2.0
"""`groot-ros inspect`: a checkpoint described, and compared with a robot."""

import json
from pathlib import Path

import pytest
import yaml
from support.tiny_checkpoint import TAG, tiny_config, write_tiny_checkpoint

from groot_ros.checkpoint.safetensors_file import TensorEntry
from groot_ros.cli.main import main
from groot_ros.core.share import PROMPT_ROBOT, demo_checkpoint, robot_path
from groot_ros.families.gr00t_n1d6.network import build_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "checkpoint")


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def robot(directory: Path, edit) -> str:
    contract = yaml.safe_load(Path(robot_path("so101")).read_text())
    edit(contract)
    path = directory / "robot.yaml"
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    return str(path)


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_group_that_is_ignored_and_joints_that_are_only_measured_are_no_finding(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(contract: dict) -> None:
        del contract["outputs"]["gripper"]
        contract["ignore"] = ["gripper.*"]
        contract["controllers"] = [c for c in contract["controllers"] if "gripper" not in c["name"]]

    path = robot(tmp_path, edit)
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", path]) == 0
    text = capsys.readouterr().out
    assert "fits robot so101" in text
    assert "unused" not in text
    assert [row[2] for row in cells(text) if row[:2] == ["gripper", "rad"]] == ["state"]
    assert ["shoulder_pan", "rad", "offset"] in [row[:3] for row in cells(text)]


def test_sizes_modalities_and_ranges_are_shown_without_reading_a_weight(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorEntry, "read", lambda *_: pytest.fail("a weight was read"))
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    model = build_model(tiny_config(), device="meta")
    assert f"Gr00tN1d6, {sum(p.numel() for p in model.parameters()):,} parameters" in text
    head = f"{sum(p.numel() for p in model.action_head.model.parameters()):,}"
    assert ["diffusion", "transformer", head, "0.1", "float32"] in cells(text)
    assert "4 alternating text and image action layers, 4 denoising steps of 8 actions" in text
    assert f"embodiment {TAG}, row 10 of the weights" in text
    assert "cameras front, wrist at step 0; state at step 0; actions at 8 steps, 0 to 7" in text
    assert ["single_arm", "5", "state", "min/max", "-90", "90"] in cells(text)
    relative = ["single_arm", "5", "action", "-", "single_arm", "min/max", "-20", "20"]
    assert relative in cells(text)


def test_every_column_has_its_range_on_request(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "statistics.json"
    statistics = json.loads(path.read_text())
    statistics[TAG]["state"]["single_arm"]["max"][3] = 45.5
    path.write_text(json.dumps(statistics))
    assert main(["inspect", "--checkpoint", str(checkpoint), "--columns"]) == 0
    rows = cells(capsys.readouterr().out)
    assert ["single_arm[3]", "1", "state", "min/max", "-90", "45.5"] in rows
    assert ["single_arm[4]", "1", "state", "min/max", "-90", "90"] in rows


def test_without_the_vlm_s_files_it_lists_what_is_needed(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "eagle_config.json").unlink()
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    text = capsys.readouterr().out
    assert f"embodiment {TAG}, row 10" in text
    assert "still needed: the VLM's config" in text
    assert "Isaac-GR00T sources" in text


def test_a_robot_that_fits_is_shown_with_the_ranges_of_its_joints(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]) == 0
    text = capsys.readouterr().out
    assert "fits robot so101" in text
    elbow = ["elbow_flex", "rad", "state", "-1.571", "1.571", "-1.750", "1.570", "0.001", "!"]
    assert elbow in cells(text)
    offset = ["elbow_flex", "rad", "offset", "-0.349", "0.349", "-3.320", "3.320", "0.000"]
    assert offset in cells(text)
    assert ["gripper", "rad", "action", "-0.170", "1.750", "-0.170", "1.750", "0.000"] in cells(
        text
    )


def test_actions_in_another_unit_stand_out_absolute_or_relative(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The states are in order: only the table of actions can tell."""
    path = checkpoint / "statistics.json"
    statistics = json.loads(path.read_text())
    statistics[TAG]["action"]["gripper"]["max"] = [1e6]
    for step in statistics[TAG]["relative_action"]["single_arm"]["max"]:
        step[2] = 1145.9
    path.write_text(json.dumps(statistics))
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]) == 0
    rows = [row for row in cells(capsys.readouterr().out) if row[-1:] == ["!"]]
    offset = ["elbow_flex", "rad", "offset", "-0.349", "20.000", "-3.320", "3.320", "16.680", "!"]
    assert offset in rows
    assert [row[2] for row in rows if row[0] == "gripper"] == ["action"]


def test_statistics_with_swapped_limits_are_rejected(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "statistics.json"
    statistics = json.loads(path.read_text())
    gripper = statistics[TAG]["action"]["gripper"]
    gripper["min"], gripper["max"] = gripper["max"], gripper["min"]
    path.write_text(json.dumps(statistics))
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    expected = f"{path}: {TAG}.action.gripper: 'min' is 100, above 'max' 0, in column 0"
    assert f"cannot be used: {expected}" in capsys.readouterr().out


def test_tokens_that_the_embeddings_do_not_reach_cannot_be_loaded(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "vocab.json"
    vocab = {token: number + 100_000 for token, number in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(vocab))
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    assert f"cannot be loaded: {path}: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.json"])
def test_a_directory_in_the_place_of_a_file_is_named(
    checkpoint: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / name).unlink()
    (checkpoint / name).mkdir()
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    expected = f"groot-ros inspect: {checkpoint / name}: cannot be read: Is a directory; a file is"
    assert expected in capsys.readouterr().err


def test_a_single_step_is_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"num_inference_timesteps": 1, "max_num_embodiments": 11}
    checkpoint = write_tiny_checkpoint(tmp_path / "one", **changes)
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 0
    assert "1 denoising step of 8 actions; " in capsys.readouterr().out


def test_what_a_robot_lacks_is_listed_and_is_exit_status_1(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(contract: dict) -> None:
        contract["cameras"]["top"] = contract["cameras"].pop("wrist")
        contract["inputs"]["state"]["single_arm"].pop()
        contract["outputs"]["single_arm"][0]["joints"].remove("wrist_roll")
        for groups in (contract["inputs"]["state"], contract["outputs"]):
            groups["hand"] = groups.pop("gripper")

    path = robot(tmp_path, edit)
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", path]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    problems = [line for line in lines if line.startswith(f"error (counterparts): {path}: ")]
    assert [line.removeprefix(f"error (counterparts): {path}: ") for line in problems] == [
        f"{problem}: describe it in the robot contract as the checkpoint has it"
        for problem in (
            "camera 'wrist' is not in the contract (it has front, top)",
            "state group 'single_arm' has 5 columns, the contract 4 joints "
            "(shoulder_pan, shoulder_lift, elbow_flex, wrist_flex)",
            "state group 'gripper' is not under 'inputs.state' (it has single_arm, hand)",
            "action group 'single_arm' has 5 columns, of which no controller takes column 4: map "
            "it under 'outputs', or list single_arm.4 under 'ignore'",
            "action group 'gripper' is not under 'outputs' (it has single_arm, hand): map it, or "
            "list gripper.* under 'ignore'",
        )
    ]
    for line in (
        "does not fit robot so101:",
        "unused: camera 'top' is not used",
        "unused: joint 'wrist_roll' is not moved, nor read",
        "unused: joint 'gripper' is not moved, nor read",
    ):
        assert line in lines


def test_ranges_in_another_unit_stand_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = robot(tmp_path, lambda contract: contract["joints"]["elbow_flex"].pop("unit_in"))
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", path]) == 0
    elbow = ["elbow_flex", "rad", "state", "-90.000", "90.000", "-1.750", "1.570", "88.430", "!"]
    assert elbow in cells(capsys.readouterr().out)


def test_weights_that_do_not_fit_config_json_are_named_and_the_rest_is_shown(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(checkpoint / "config.json", max_num_embodiments=11)
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    text = capsys.readouterr().out
    assert "cannot be loaded: " in text
    assert "requires [11, 8, 16]" in text
    assert f"embodiment {TAG}" in text


def test_an_embodiment_without_statistics_cannot_be_used(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "statistics.json").write_text("{}")
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    assert f"cannot be used: {checkpoint / 'statistics.json'}: '{TAG}' is missing" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.json", '{"model_type": "gr00t_n9"}', "'model_type' is 'gr00t_n9'"),
        ("config.json", "{", "config.json: is not valid JSON"),
        ("processor_config.json", "{}", "'processor_kwargs' is missing"),
        ("model.safetensors", "short", "model.safetensors: is truncated"),
    ],
)
def test_a_broken_file_is_one_line(
    checkpoint: Path, file: str, content: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / file).write_text(content)
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"groot-ros inspect: {checkpoint / file}")
    assert problem in error
    assert error.count("\n") == 1


def test_a_wrong_embodiment_lists_the_valid_ones(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--checkpoint", str(checkpoint), "--embodiment", "gr1"]) == 1
    assert f"has no embodiment 'gr1' (valid: {TAG})" in capsys.readouterr().err


def test_an_embodiment_that_cannot_be_read_is_shown_and_the_other_one_is_usable(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "processor_config.json"
    value = json.loads(path.read_text())
    value["processor_kwargs"]["modality_configs"]["future"] = {"streams": []}
    path.write_text(json.dumps(value))
    change(checkpoint / "statistics.json", future=["another format"])
    change(checkpoint / "embodiment_id.json", future="twelve")
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    assert f"cannot be used: {path}: processor_kwargs.modality_configs.future: 'video'" in text
    assert f"embodiment {TAG}, row 10" in text
    assert main(["inspect", "--checkpoint", str(checkpoint), "--embodiment", "future"]) == 1


def test_a_checkpoint_with_its_processor_in_a_folder_is_inspected(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "processor").mkdir()
    for name in ("processor_config.json", "statistics.json", "embodiment_id.json"):
        (checkpoint / name).rename(checkpoint / "processor" / name)
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]) == 0
    assert "fits robot so101" in capsys.readouterr().out


def test_the_duration_of_a_chunk_is_shown_against_rate_and_latency(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]
    assert main(arguments) == 0
    chunk = "chunk: 8 steps of 0.0333 s = 0.267 s; an inference every 0.200 s"
    expected = f"{chunk} leaves 0.067 s for its latency, which is not known"
    assert expected in capsys.readouterr().out
    assert main([*arguments, "--latency", "0.15"]) == 0
    text = capsys.readouterr().out
    assert f"{chunk} + latency 0.150 s = 0.350 s" in text
    assert "warning (chunk_duration): " in text
    assert main([*arguments, "--latency", "0.15", "--rate-hz", "10"]) == 0
    text = capsys.readouterr().out
    assert "an inference every 0.200 s + latency 0.150 s = 0.350 s" in text


def test_the_parameters_of_a_file_are_checked(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "/**:\n  ros__parameters: {rate_hz: 2.0, other: 1}\n"
        "/**/policy_node:\n  ros__parameters: {max_state_gap: 0.005, rtc: {mode: native}}\n"
        "/executor_node:\n  ros__parameters: {joint_state_timeout: 0.02}\n"
        "/recorder_node:\n  ros__parameters: {rate_hz: 0.1}\n"
    )
    arguments = ["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]
    arguments += ["--params-file", str(file)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for check in ("chunk_duration", "state_gap"):
        assert f"warning ({check}): " in text
    assert "max_state_gap 0.005 s" in text
    file.write_text("executor_node:\n  ros__parameters: {max_chunk_age: 0.001}\n")
    assert main(arguments) == 1
    expected = f"groot-ros inspect: {file}: max_chunk_age must be at least 0.05, not 0.001"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "status", "problem"),
    [
        ("--latency", "-1", 2, "--latency must be above 0, not -1"),
        ("--rate-hz", "0", 2, "rate_hz must be at least 0.1, not 0"),
        ("--engine-directory", "/nonexist", 2, "/nonexist/manifest.json: no such file"),
        ("--params-file", "/nonexist.yaml", 1, "/nonexist.yaml: no such file"),
    ],
)
def test_a_wrong_option_is_one_line(
    checkpoint: Path,
    option: str,
    value: str,
    status: int,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["inspect", "--checkpoint", str(checkpoint), "--robot", "so101", option, value]
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_image_steps_that_cannot_be_observed_are_an_error_without_a_robot_as_well(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint / "processor_config.json"
    value = json.loads(path.read_text())
    modes = value["processor_kwargs"]["modality_configs"][TAG]
    modes["video"]["delta_indices"] = [-10, -5]
    path.write_text(json.dumps(value))
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
    key = f"processor_kwargs.modality_configs.{TAG}.video.delta_indices"
    expected = f"error (image_history): {path}: '{key}' is [-10, -5], which ends before the"
    assert expected in capsys.readouterr().out


def test_of_actions_that_are_poses_no_duration_of_a_chunk_is_printed(capsys):
    path = demo_checkpoint(PROMPT_ROBOT)
    assert main(["inspect", "--checkpoint", str(path), "--robot", PROMPT_ROBOT]) == 0
    output = capsys.readouterr().out
    assert f"fits robot {PROMPT_ROBOT}" in output
    assert "chunk" not in output
