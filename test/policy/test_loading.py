# SPDX-License-Identifier: Apache-2.0
"""Loading a policy: configuration, downloaded checkpoints, and files that do not match."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny_checkpoint import (
    TAG,
    tiny_processor_config,
    tiny_statistics,
    write_tiny_checkpoint,
)
from support.tiny_policy import group_values, load, observation, policy_config

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import RobotContract

MODEL, VLM = "nvidia/GR00T-N1.6-3B", "nvidia/Eagle-Block2A-2B-v2"


def test_a_contract_that_lacks_parts_of_the_checkpoint_names_all_of_them(
    checkpoint: Path, robot: RobotContract
) -> None:
    front = {"front": robot.cameras["front"]}
    wrong = replace(
        robot,
        cameras=front,
        state_groups={"single_arm": ("shoulder_pan",)},
        action_groups={"single_arm": robot.action_groups["single_arm"]},
    )
    with pytest.raises(CheckpointError) as caught:
        load(checkpoint, robot=wrong)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "camera 'wrist' is not in the contract (it has front)",
        "state group 'single_arm' has 5 columns, the contract 1",
        "state group 'gripper' is not under 'inputs.state' (it has single_arm)",
        "action group 'gripper' is not under 'outputs' (it has single_arm)",
    ):
        assert part in message


def test_progress_names_the_stages_and_ends_at_one(checkpoint: Path) -> None:
    seen: list[tuple[str, float]] = []
    load(checkpoint, progress=lambda *step: seen.append(step))
    assert seen[0] == ("config", 0.0)
    assert seen[-1] == ("weights", 1.0)


def test_the_number_of_steps_can_be_chosen_at_load_and_later(checkpoint: Path) -> None:
    policy = load_policy(policy_config(checkpoint, num_inference_steps=1))
    one = policy.infer(observation(), seed=1)
    policy.num_inference_steps = 4
    four = policy.infer(observation(), seed=1)
    assert not np.array_equal(group_values(one, "single_arm"), group_values(four, "single_arm"))


def test_a_closed_policy_holds_no_memory_and_cannot_infer(checkpoint: Path) -> None:
    policy = load(checkpoint)
    policy.close()
    assert policy.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        policy.infer(observation())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"engine": "warp"}, "engine must be one of auto, cuda_graph, .*, torch, .*, not 'warp'"),
        ({"dtype": "int3"}, "dtype must be one of auto, bfloat16, float32, not 'int3'"),
        ({"num_inference_steps": -1}, "num_inference_steps must be at least 0, not -1"),
    ],
)
def test_a_wrong_field_is_an_error_with_the_allowed_values(
    checkpoint: Path, fields: dict, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        load_policy(policy_config(checkpoint, **fields))


def test_a_wrong_tag_is_an_error_with_the_valid_ones(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no embodiment 'gr1' \(valid: new_embodiment\)"):
        load_policy(policy_config(checkpoint, embodiment="gr1"))


def test_a_hub_id_is_resolved_to_the_downloaded_files(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid out as by the hub's client: links into a folder of blobs, the VLM separate."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    names = {"config.json": MODEL, "eagle_config.json": VLM, "vocab.json": VLM}
    names |= {"merges.txt": VLM, "added_tokens.json": VLM}
    for number, file in enumerate(sorted(write_tiny_checkpoint(tmp_path / "made").iterdir())):
        repository = tmp_path / f"models--{names.get(file.name, MODEL).replace('/', '--')}"
        for part in ("blobs", "refs", "snapshots/abc"):
            (repository / part).mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text("abc")
        file.rename(repository / "blobs" / str(number))
        name = file.name.replace("eagle_config", "config")
        (repository / "snapshots" / "abc" / name).symlink_to(f"../../blobs/{number}")
    found = load(MODEL)
    assert found.checkpoint_hash == policy.checkpoint_hash
    a, b = (p.infer(observation(), seed=1) for p in (found, policy))
    assert np.array_equal(group_values(a, "single_arm"), group_values(b, "single_arm"))


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("embodiment_id.json", {TAG: 12}, "is row 12, but max_num_embodiments in config"),
        ("config.json", {"model_type": "gr00t_n9"}, "'model_type' is 'gr00t_n9'"),
        ("eagle_config.json", {"image_token_index": 3}, "'image_token_index' is 3, the tokenizer"),
    ],
)
def test_a_file_that_disagrees_with_another_is_named(
    tmp_path: Path, file: str, change: dict, problem: str
) -> None:
    path = write_tiny_checkpoint(tmp_path) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=problem) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


def test_a_tokenizer_with_more_ids_than_embedding_rows_is_rejected(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path) / "eagle_config.json"
    eagle = json.loads(path.read_text())
    eagle["text_config"]["vocab_size"] = 200
    path.write_text(json.dumps(eagle))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{path}: 'vocab_size' is 200, the tokenizer has ids up to 261"


def test_an_unknown_model_type_is_reported_before_missing_assets(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gr00t_n9"}))
    with pytest.raises(
        CheckpointError,
        match=r"'gr00t_n9': no model family recognises it; .*Gr00tN1d6; vima: .* file$",
    ):
        load(tmp_path)


def test_a_processor_of_other_sizes_than_the_model_is_rejected(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    save_processor(tiny_processor_config(max_action_dim=9), tiny_statistics(), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"'max_action_dim' is 9, but it is 8 in config\.json"
    ):
        load(tmp_path)
