# SPDX-License-Identifier: Apache-2.0
"""Paths that people give instead of a checkpoint: each error says what to give or to do."""

import json
from pathlib import Path

import pytest
from support.tiny_checkpoint import write_tiny_checkpoint

from groot_ros.checkpoint.locate import find_backbone_assets, find_checkpoint
from groot_ros.cli.main import main
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.registry import find_family

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def make(directory: Path, *names: str) -> Path:
    """Create files (directories for names that end in a slash); return the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = directory / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    return directory


def problem_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        find_family(find_checkpoint(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_output_directory_of_a_training_names_its_newest_checkpoint(tmp_path: Path) -> None:
    out = make(tmp_path / "out", "checkpoint-9000/config.json", "checkpoint-10000/config.json")
    (out / "checkpoint-latest").mkdir()
    assert problem_of(out) == (
        f"is the output directory of a training: did you mean {out}/checkpoint-10000?"
    )


@pytest.mark.parametrize(
    ("saved", "hint"),
    [
        (("best", "last"), "did you mean {out}/best?"),
        (("last",), "did you mean {out}/last?"),
        ((), "it has not saved a checkpoint yet"),
    ],
)
def test_what_a_training_began_with_is_not_suggested(
    tmp_path: Path, saved: tuple[str, ...], hint: str
) -> None:
    names = [f"{name}/config.json" for name in ("base", "new", *saved)]
    out = make(tmp_path / "out", "train.json", *names)
    problem = f"is the output directory of a training: {hint.format(out=out)}"
    assert problem_of(out) == problem


def test_checkpoints_in_deeper_folders_are_found_by_their_number(tmp_path: Path) -> None:
    inner = [f"pick/checkpoints/{n:06d}/pretrained_model/config.json" for n in (9000, 20000)]
    run = make(tmp_path / "train", *inner, "pick/logs/")
    newest = f"{run}/pick/checkpoints/020000/pretrained_model"
    assert problem_of(run).endswith(f"did you mean {newest}?")
    assert problem_of(run / "pick" / "checkpoints").endswith(f"did you mean {newest}?")


def test_a_checkpoint_that_was_not_written_to_its_end_is_not_suggested(tmp_path: Path) -> None:
    out = make(tmp_path / "out", "checkpoint-9000/config.json", "checkpoint-10000/optimizer.pt")
    assert problem_of(out).endswith(f"did you mean {out}/checkpoint-9000?")


def test_a_step_that_does_not_exist_suggests_the_one_that_does(tmp_path: Path) -> None:
    make(tmp_path / "out", "checkpoint-10000/")
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path / "out" / "checkpoint-1000")
    assert str(caught.value) == (
        f"checkpoint {tmp_path}/out/checkpoint-1000: no such directory: did you mean "
        f"{tmp_path}/out/checkpoint-10000?"
    )


def test_a_lora_adapter_names_the_model_to_merge_it_into(tmp_path: Path) -> None:
    adapter = make(tmp_path / "adapter", "adapter_config.json", "adapter_model.safetensors")
    assert "is a LoRA adapter: merge it into its base model first" in problem_of(adapter)
    base = {"base_model_name_or_path": "nvidia/GR00T-N1.6-3B"}
    (adapter / "adapter_config.json").write_text(json.dumps(base))
    assert "merge it into nvidia/GR00T-N1.6-3B first (merge_and_unload of peft)" in problem_of(
        adapter
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("global_step500/", "zero_to_fp32.py"), "has DeepSpeed shards (global_step500)"),
        (("mp_rank_00_model_states.pt",), "has DeepSpeed shards (mp_rank_00_model_states.pt)"),
        (("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",), "has DeepSpeed shards"),
        (("pytorch_model_fsdp_0/",), "has FSDP shards instead of weights"),
        (("optimizer.pt", "scheduler.pt"), "has the state of an optimizer (optimizer.pt) but no"),
        (("pytorch_model.bin",), "PyTorch pickles (pytorch_model.bin); only safetensors are read"),
        (("model.pt", "optimizer.pt"), "PyTorch pickles (model.pt); only safetensors are read"),
        (("manifest.json", "denoise.onnx"), "is a directory of engine files: give it as engine_"),
        (("denoise.plan",), "is a directory of engine files: give it as engine_directory"),
        (("meta/info.json", "data/"), "is a data set, not a checkpoint"),
        (("metadata.yaml", "bag.mcap"), "is a bag, not a checkpoint"),
        (("models--nvidia--GR00T-N1.6-3B/",), "give a hub id, such as nvidia/GR00T-N1.6-3B"),
        (("my_run/config.json", "logs/"), "has no config.json: did you mean {path}/my_run?"),
        (("model.safetensors",), "has weights but no config.json"),
        (("model.safetensors.incomplete",), "is an incomplete download: download it again"),
        ((), "is an empty directory: was the download or the training ended early?"),
    ],
)
def test_a_directory_of_another_kind_is_named_with_what_to_do(
    tmp_path: Path, names: tuple[str, ...], expected: str
) -> None:
    path = make(tmp_path / "given", *names)
    assert expected.format(path=path) in problem_of(path)


def test_deepspeed_s_own_script_is_given_with_its_path(tmp_path: Path) -> None:
    path = make(tmp_path / "checkpoint-500", "global_step500/", "zero_to_fp32.py", "config.json")
    (path / "config.json").unlink()
    assert f"python {path}/zero_to_fp32.py {path} {path} --safe_serialization" in problem_of(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("config.json", "is a file of a checkpoint; give its directory"),
        ("model-00001-of-00002.safetensors", "is a file of a checkpoint; give its directory"),
        ("denoise.onnx", "is a file of an engine: give its directory as engine_directory"),
        ("denoise.plan", "is a TensorRT engine: give its directory as engine_directory"),
        ("weights.pth", "is a PyTorch pickle; only safetensors are read"),
        ("checkpoint.tar.gz", "is an archive: unpack it first"),
        ("episode_000000.parquet", "is a file of a data set"),
    ],
)
def test_a_file_of_another_kind_is_named_with_what_to_give(
    tmp_path: Path, name: str, expected: str
) -> None:
    path = tmp_path / name
    path.write_text("{}")
    assert expected in problem_of(path)


def test_a_robot_contract_given_as_the_checkpoint_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text("robot: arm\njoints: {}\ncontrollers: []\n")
    assert problem_of(path) == (
        "is a robot contract: give it as robot, and the directory of a checkpoint here"
    )
    path.write_text("a: 1\n")
    assert problem_of(path) == "is a YAML file: give the directory of a checkpoint"


def test_a_directory_of_the_hub_cache_names_its_snapshot(tmp_path: Path) -> None:
    repository = make(tmp_path / "models--org--name", "snapshots/old/a", "snapshots/new/a", "refs/")
    (repository / "refs" / "main").write_text("new")
    assert problem_of(repository) == (
        f"is a directory of the hub cache: give the hub id org/name, or {repository}/snapshots/new"
    )


def test_a_folder_inside_of_a_checkpoint_names_the_checkpoint(tmp_path: Path) -> None:
    path = make(tmp_path / "ckpt", "config.json", "model.safetensors", "processor/a.json")
    inner = path / "processor"
    assert problem_of(inner) == f"is a directory inside of a checkpoint: did you mean {path}?"


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "processor_config.json", "merges.txt"]
)
def test_a_git_lfs_pointer_is_named_with_the_command(tmp_path: Path, name: str) -> None:
    write_tiny_checkpoint(tmp_path)
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / name}: is a Git LFS pointer, not the file itself: run git lfs pull in "
        f"{tmp_path}"
    )


def test_a_git_lfs_pointer_among_the_vlm_s_files_is_named(tmp_path: Path) -> None:
    checkpoint, assets = make(tmp_path / "a", "config.json"), make(tmp_path / "b", "vocab.json")
    (assets / "vocab.json").write_text(POINTER)
    with pytest.raises(CheckpointError, match=r"b/vocab.json: is a Git LFS pointer"):
        find_backbone_assets(checkpoint, assets, "some/vlm")


def test_weights_that_are_missing_next_to_a_config_are_explained(tmp_path: Path, capsys) -> None:
    write_tiny_checkpoint(tmp_path / "out" / "checkpoint-20")
    for name in ("config.json", "processor_config.json", "eagle_config.json"):
        (tmp_path / "out" / name).write_bytes(
            (tmp_path / "out" / "checkpoint-20" / name).read_bytes()
        )
    assert main(["inspect", "--checkpoint", str(tmp_path / "out")]) == 1
    assert f"did you mean {tmp_path}/out/checkpoint-20?" in capsys.readouterr().err


def test_a_directory_that_may_not_be_listed_is_named_with_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(CheckpointError, match="Permission denied; let this user read it") as caught:
        find_checkpoint(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be read: ")


def test_a_complete_checkpoint_next_to_other_files_is_no_mistake(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    make(
        tmp_path, "checkpoint-5/config.json", "global_step5/", "optimizer.pt", "adapter_config.json"
    )
    assert find_family(find_checkpoint(tmp_path)).name == "gr00t_n1d6"
