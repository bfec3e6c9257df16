# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run; options of the command line and keys of a recipe derive from them."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groot_ros.core import MAX_INFERENCE_STEPS
from groot_ros.core.config import check, parameter, parameters_of
from groot_ros.core.config_reader import ConfigError, Fields
from groot_ros.vision.augmentation import Augmentation

#: Value of `checkpoint` that starts from a new small network.
SMALL = "small"
_SWITCH = ("checkpoint", "on", "off")
#: Settings that describe LeRobot data or a network that predicts chunks.
_CHUNKS_ONLY = (
    *("robot", "views", "horizon", "relative", "statistics", "padding"),
    *("tune_llm", "tune_visual", "tune_projector", "tune_diffusion_model", "tune_vlln"),
    *("tune_top_llm_layers", "lora_rank", "state_dropout", "max_delay", "rotation"),
    *("cache_features", "frame_cache", "num_inference_steps", "timestep_sampling"),
)
#: Settings that may differ when a run is resumed.
_FREE = ("out", "resume", "leg_minutes", "log_every", "workers", "threads", "frame_cache")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Raises:
        ValueError: a value is out of range; names the setting.

    """

    data: tuple[str, ...] = parameter(
        (),
        "Data sets: directories in LeRobot's format v2.1; of `sim collect` for family vima",
    )
    checkpoint: str = parameter(
        "", f"Checkpoint to start from; '{SMALL}' = a new small one with random weights"
    )
    family: str = parameter("gr00t_n1d6", f"Model family of the checkpoint '{SMALL}'")
    out: str = parameter("", "Directory to write")
    resume: bool = parameter(False, "Continue the run in the output directory")
    embodiment: str = parameter("new_embodiment", "Embodiment tag to train")
    robot: str = parameter("", "Robot contract, for errors in rad; '' = the data set's")
    backbone_assets: str = parameter("", "Directory of tokenizer and VLM configuration")
    views: tuple[str, ...] = parameter((), "Cameras; none = the checkpoint's, else all of the data")
    horizon: int = parameter(
        0, "Steps of a chunk; 0 = as the checkpoint, else 16", minimum=0, maximum=1000
    )
    relative: tuple[str, ...] = parameter(
        (), "Action groups that are offsets from the state; none = as the checkpoint"
    )
    statistics: str = parameter(
        "recompute",
        "Normalise with the data's statistics, or with those of the checkpoint",
        choices=("recompute", "keep"),
    )
    padding: str = parameter(
        "mask",
        "Actions after the end of an episode: not counted, the last one again, or no such samples",
        choices=("mask", "repeat", "none"),
    )
    held_out: float = parameter(
        0.1, "Share of the episodes that is held out for validation", minimum=0.0, maximum=0.9
    )
    validation_samples: int = parameter(64, "Held-out samples of a validation", minimum=1)
    tune_llm: str = parameter("checkpoint", "Train the language tower", choices=_SWITCH)
    tune_visual: str = parameter("checkpoint", "Train the vision tower", choices=_SWITCH)
    tune_projector: str = parameter(
        "checkpoint", "Train the encoders and decoders of state and action", choices=_SWITCH
    )
    tune_diffusion_model: str = parameter(
        "checkpoint", "Train the diffusion transformer", choices=_SWITCH
    )
    tune_vlln: str = parameter(
        "checkpoint", "Train the norm of the backbone's features", choices=_SWITCH
    )
    tune_top_llm_layers: int = parameter(
        -1,
        "Layers of the language tower, from the top, that are trained in any case; "
        "-1 = as the checkpoint",
        minimum=-1,
        maximum=1000,
    )
    lora_rank: int = parameter(
        0, "Rank of LoRA on the diffusion transformer; 0 = without", minimum=0, maximum=4096
    )
    lora_alpha: int = parameter(0, "Scale of LoRA; 0 = twice the rank", minimum=0)
    lora_dropout: float = parameter(0.0, "Dropout of LoRA", minimum=0.0, maximum=0.9)
    state_dropout: float = parameter(
        -1.0,
        "Probability that a sample's state is hidden; -1 = as the checkpoint",
        minimum=-1.0,
        maximum=1.0,
    )
    num_inference_steps: int = parameter(
        0,
        "Denoising steps that the checkpoint asks for; 0 = as the checkpoint",
        minimum=0,
        maximum=MAX_INFERENCE_STEPS,
    )
    timestep_sampling: str = parameter(
        "beta",
        "Which steps between noise and action are trained: all, by the checkpoint's beta "
        "distribution, or those of inference only",
        choices=("beta", "inference"),
    )
    steps: int = parameter(10000, "Optimiser steps of the whole run", minimum=1)
    batch_size: int = parameter(64, "Samples of one step, over all processes", minimum=1)
    micro_batch: int = parameter(
        0, "Samples that one process computes at a time; 0 = its whole share", minimum=0
    )
    learning_rate: float = parameter(1e-4, "Peak learning rate of AdamW", minimum=0.0)
    weight_decay: float = parameter(1e-5, "Weight decay of matrices", minimum=0.0)
    warmup: float = parameter(
        0.05,
        "Share of the steps with rising learning rate; a cosine to 0 follows",
        minimum=0.0,
        maximum=1.0,
    )
    clip: float = parameter(1.0, "Largest norm of the gradient; 0 = any", minimum=0.0)
    ema: float = parameter(
        0.0,
        "Decay of averaged weights, which are then the result; 0 = without",
        minimum=0.0,
        maximum=0.99999,
    )
    max_delay: int = parameter(
        0, "Training-time real-time chunking: up to so many leading steps are given", minimum=0
    )
    auxiliary: float = parameter(
        0.0,
        "Weight of the auxiliary loss: columns label.<view> located in each image; for vima, "
        "things of the prompt recognised on the table",
        minimum=0.0,
    )
    crop: str = parameter("random", "Position of the crop of images", choices=("random", "centre"))
    brightness: float = parameter(0.3, "Range of the random brightness", minimum=0.0, maximum=1.0)
    contrast: float = parameter(0.4, "Range of the random contrast", minimum=0.0, maximum=1.0)
    saturation: float = parameter(0.5, "Range of the random saturation", minimum=0.0, maximum=1.0)
    hue: float = parameter(0.08, "Range of the random hue", unit="turns", minimum=0.0, maximum=0.5)
    rotation: float = parameter(
        0.0, "Range of the random rotation", unit="degrees", minimum=0.0, maximum=180.0
    )
    cache_features: bool = parameter(
        False, "Compute the frozen backbone once for each frame; needs images without augmentation"
    )
    precision: str = parameter(
        "auto", "auto = bfloat16 on a GPU", choices=("auto", "float32", "bfloat16")
    )
    device: str = parameter("auto", "auto = a GPU if there is one", choices=("auto", "cpu"))
    seed: int = parameter(42, "Seed of all random values", minimum=0)
    evaluate_every: int = parameter(500, "Steps between two validations", minimum=1)
    save_every: int = parameter(500, "Steps between two saved states", minimum=1)
    log_every: int = parameter(10, "Steps between two logged losses", minimum=1)
    leg_minutes: float = parameter(
        0.0,
        "Save and stop after this time; --resume continues; 0 = no limit",
        unit="min",
        minimum=0.0,
    )
    workers: int = parameter(
        0, "Processes that prepare samples; 0 = the training process", minimum=0, maximum=256
    )
    threads: int = parameter(0, "CPU threads of torch; 0 = all cores", minimum=0, maximum=256)
    frame_cache: str = parameter("", "Directory of decoded frames; '' = in the output directory")

    def __post_init__(self) -> None:
        check(self)
        if self.cache_features and not self.augmentation.off:
            raise ValueError(
                "cache_features computes each frame's features once, so images cannot change: set "
                "crop to centre, and brightness, contrast, saturation, hue and rotation to 0"
            )
        if self.auxiliary and (self.rotation or self.cache_features):
            other = "cache_features" if self.cache_features else "rotation"
            raise ValueError(f"auxiliary and {other} exclude each other: set one of them to 0")
        if self.lora_rank and self.tune_diffusion_model == "on":
            raise ValueError(
                "lora_rank freezes the diffusion transformer: leave tune_diffusion_model out"
            )

    @property
    def augmentation(self) -> Augmentation:
        """Return the random changes of training images."""
        return Augmentation(
            self.crop == "random",
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
            self.rotation,
        )

    @property
    def changes(self) -> dict[str, Any]:
        """Return the keys of the checkpoint's config.json that change, and their values."""
        named = {
            name: getattr(self, name) == "on"
            for name in (
                "tune_llm",
                "tune_visual",
                "tune_projector",
                "tune_diffusion_model",
                "tune_vlln",
            )
            if getattr(self, name) != "checkpoint"
        }
        if self.tune_top_llm_layers >= 0:
            named["tune_top_llm_layers"] = self.tune_top_llm_layers
        if self.state_dropout >= 0:
            named["state_dropout_prob"] = self.state_dropout
        if self.num_inference_steps:
            named["num_inference_timesteps"] = self.num_inference_steps
        if self.lora_rank:
            named["tune_diffusion_model"] = False
        return named

    def refuse_chunk_settings(self, family: str) -> None:
        """Raise ValueError if a setting is given that a family without chunks does not have."""
        for declared in parameters_of(TrainSettings):
            name = declared.field_name
            if name in _CHUNKS_ONLY and getattr(self, name) != declared.default:
                raise ValueError(f"{name} has no meaning for family {family}: leave it out")

    def to_json(self) -> dict[str, Any]:
        """Return all settings, to be stored with a run."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    def difference(self, stored: Mapping[str, Any]) -> str:
        """Return how these settings differ from those of a run to resume, or an empty string."""
        own = self.to_json()
        for name, value in own.items():
            if name not in _FREE and name in stored and stored[name] != value:
                return f"{name} is {value}, but the run began with {stored[name]}"
        return ""


def parameters() -> tuple[str, ...]:
    """Return the names of all settings."""
    return tuple(declared.field_name for declared in parameters_of(TrainSettings))


def read_recipe(path: Path) -> dict[str, Any]:
    """Read settings from a YAML file; their names are those of the options.

    Raises:
        ConfigError: the file cannot be read, or has an unknown key.

    """
    root = Fields.read(path, syntax="yaml", error_type=ConfigError)
    declared = {p.field_name: p for p in parameters_of(TrainSettings)}
    known = tuple(declared)
    for key in root.value:
        if key not in known:
            raise root.error(key, f"is not a setting (known: {', '.join(sorted(known))})")
    values: dict[str, Any] = {}
    for key, value in root.value.items():
        values[key] = tuple(value) if isinstance(value, list) else value
        if isinstance(value, str) and isinstance(declared[key].default, float):
            # YAML 1.1 reads 1e-4, unlike 1.0e-4, as a string.
            with contextlib.suppress(ValueError):
                values[key] = float(value)
    return values


def make_settings(*given: Mapping[str, Any]) -> TrainSettings:
    """Return settings from several sources, later ones first; ValueError names a wrong one."""
    values: dict[str, Any] = {}
    for source in given:
        values |= source
    settings = TrainSettings(**values)
    required = {"data": "a data set", "checkpoint": "a checkpoint", "out": "a directory"}
    for name, what in required.items():
        if not getattr(settings, name):
            raise ValueError(f"{name} is missing: give {what} with --{name}")
    return settings
