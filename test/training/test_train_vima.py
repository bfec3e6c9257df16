# SPDX-License-Identifier: Apache-2.0
"""Training runs of VIMA on drawn things."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.tiny_vima import tiny_config
from support.vima_data import BINS, WORDS, write_vima_data

from groot_ros.cli.main import main
from groot_ros.families.registry import get_family
from groot_ros.families.vima.checkpoint import random_network, save_network
from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.episodes import VimaEpisode, read_data
from groot_ros.families.vima.policy import load
from groot_ros.families.vima.prompt import word_tokenizer
from groot_ros.training.run import train
from groot_ros.training.settings import TrainSettings, make_settings, read_recipe
from groot_ros.vision.objects import Objects

pytest.importorskip("transformers", reason="transformers is not installed")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "config" / "training" / "vima_small.yaml"
STILL = {"crop": "centre", "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    path = tmp_path_factory.mktemp("vima")
    return [
        write_vima_data(path / "one", 4, things=3, seed=1),
        write_vima_data(path / "two", 4, things=3, steps=2, seed=2),
    ]


@pytest.fixture
def settings(data: list[Path], tmp_path: Path) -> TrainSettings:
    """Return settings that continue a tiny checkpoint."""
    base = tmp_path / "tiny"
    save_network(random_network(tiny_config(bins=BINS), seed=0), base, word_tokenizer(WORDS))
    return TrainSettings(
        data=tuple(str(path) for path in data),
        checkpoint=str(base),
        out=str(tmp_path / "out"),
        device="cpu",
        steps=4,
        batch_size=4,
        learning_rate=1e-3,
        evaluate_every=1000,
        log_every=1,
        auxiliary=1.0,
        **STILL,
    )


def session_bins(checkpoint: Path, episode: VimaEpisode) -> list[dict[str, tuple[int, ...]]]:
    """Return the bins that a session chooses for the objects of an episode."""
    session = load(checkpoint).session(episode.prompt)
    found = []
    for step in range(episode.steps):
        crops, boxes, mask = (
            {view: array[step] for view, array in arrays.items()}
            for arrays in (episode.objects.crops, episode.objects.boxes, episode.objects.mask)
        )
        objects = Objects((), crops, boxes, mask)
        found.append(dict(session.step(objects, episode.end_effector).bins))
    return found


def test_a_small_network_learns_eight_episodes_to_identical_bins(
    data: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["train", "--family", "vima", "--checkpoint", "small", "--data", *map(str, data)]
    options = {
        "out": out,
        "steps": 70,
        "batch-size": 8,
        "learning-rate": 2e-3,
        "warmup": 0.1,
        "held-out": 0,
        "auxiliary": 1,
        "threads": 1,
        "device": "cpu",
        **STILL,
    }
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    assert main(command) == 0
    for episode in read_data(data).episodes:
        expected = [
            {part: tuple(episode.actions[part][step].tolist()) for part in PARTS}
            for step in range(episode.steps)
        ]
        assert session_bins(out / "last", episode) == expected, episode.where
    weights = load_file(out / "last" / "model.safetensors")
    assert sum(value.numel() for value in weights.values()) < 4e6
    assert sum(file.stat().st_size for file in (out / "last").iterdir()) < 16e6
    config = json.loads((out / "last" / "config.json").read_text())
    assert config["vit"]["vit_width"] <= 128
    assert config["t5"]["d_model"] <= 128
    words = json.loads((out / "last" / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(words) == {"<unk>", "</s>", *WORDS}


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    settings: TrainSettings, tmp_path: Path
) -> None:
    whole = replace(settings, ema=0.9, brightness=0.2, hue=0.05)
    assert train(whole).finished
    legs = replace(whole, out=str(tmp_path / "legs"), leg_minutes=1e-9)
    assert train(legs).step == 1
    train(replace(legs, resume=True))
    assert train(replace(legs, resume=True, leg_minutes=0.0)).finished
    states = [f"state/{name}.safetensors" for name in ("weights", "average", "optimiser")]
    for file in ("last/model.safetensors", *states):
        one, two = (load_file(Path(s.out) / file) for s in (whole, legs))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one), file


def test_the_error_on_held_out_episodes_is_recorded(settings: TrainSettings) -> None:
    result = train(replace(settings, evaluate_every=2, held_out=0.25))
    assert result.error is not None
    assert result.error.unit == "m"
    out = Path(settings.out)
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (last,) = [e for e in entries if e["step"] == 4 and "error/mean" in e]
    assert 0 < last["error/mean"] < 1.2
    assert last["share/placed"] == pytest.approx(1 - result.error.minimised, abs=2e-3)
    assert {"loss/train", "loss/auxiliary"} <= set().union(*entries)
    assert (out / "curves.png").stat().st_size > 5000
    assert load(out / "best").network.config == load(out / "last").network.config


def test_micro_batches_give_the_same_weights_as_a_whole_batch(
    settings: TrainSettings, tmp_path: Path
) -> None:
    # The auxiliary loss is a mean over things, not over actions.
    whole = replace(settings, steps=1, auxiliary=0.0)
    train(whole)
    train(replace(whole, out=str(tmp_path / "parts"), micro_batch=1))
    one, two = (
        json.loads((Path(out) / "metrics.jsonl").read_text().splitlines()[0])["loss/train"]
        for out in (whole.out, tmp_path / "parts")
    )
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"relative": ("single_arm",)}, "relative has no meaning for family vima: leave it out"),
        ({"cache_features": True}, "cache_features has no meaning for family vima"),
        ({"lora_rank": 4}, "lora_rank has no meaning"),
        ({"rotation": 5.0, "auxiliary": 0.0}, "rotation has no meaning"),
    ],
)
def test_settings_of_other_families_are_refused(
    settings: TrainSettings, given: dict, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        train(replace(settings, **{"auxiliary": 0.0, **given}))


def test_a_checkpoint_of_other_bins_is_refused(settings: TrainSettings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    save_network(random_network(tiny_config(), seed=0), other, word_tokenizer(WORDS))
    with pytest.raises(ValueError, match=r"other: bins are .* those of the data are"):
        train(replace(settings, checkpoint=str(other)))


def test_without_transformers_the_error_names_the_extra(
    data: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    command = ["train", "--family", "vima", "--checkpoint", "small", "--data", str(data[0])]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "needs the package transformers" in capsys.readouterr().err


def test_data_of_another_format_are_refused(settings: TrainSettings, tmp_path: Path) -> None:
    (tmp_path / "lerobot" / "meta").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"lerobot/meta.json"):
        train(replace(settings, data=(str(tmp_path / "lerobot"),)))


def test_the_recipe_is_one_of_a_small_vima() -> None:
    recipe = read_recipe(RECIPE)
    settings = make_settings(recipe, {"data": ("data",), "out": "out"})
    assert (settings.family, settings.checkpoint) == ("vima", "small")
    settings.refuse_chunk_settings("vima")
    assert get_family(settings.family).name == "vima"
