"""Which engines there are, and how each is made from a checkpoint."""

from collections.abc import Callable, Collection
from pathlib import Path

import torch

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, load_model
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.gr00t_n1d6 import load_fast
from groot_ros.runtime.plain_engine import PlainEngine
from groot_ros.runtime.torch_engine import TorchEngine

#: "torch" is the exact fast form, "plain" the model as written: the measure of all others.
ENGINES = ("torch", "plain")


def build_engine(
    name: str,
    directory: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int,
    device: torch.device,
    dtype: torch.dtype,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
) -> Engine:
    """An engine with the weights of a checkpoint, for one embodiment.

    Args:
        name: one of `ENGINES`.
        directory: of the checkpoint.
        config: from `load_config`.
        embodiment: row of the category-specific weights.
        device: where the engine runs.
        dtype: of the weights.
        step_counts: numbers of denoising steps to be ready for; others work, the first run with
            one takes longer.
        progress: called with the fraction of the bytes read so far.

    Raises:
        CheckpointError: the weights do not fit; see `load_model`.
        ValueError: there is no such engine.

    """
    if name == "plain":
        return PlainEngine(
            load_model(
                directory,
                config,
                embodiment=embodiment,
                device=device,
                dtype=dtype,
                progress=progress,
            )
        )
    if name == "torch":
        return TorchEngine(
            load_fast(
                directory,
                config,
                embodiment=embodiment,
                device=device,
                dtype=dtype,
                step_counts=step_counts,
                progress=progress,
            )
        )
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not '{name}'")
