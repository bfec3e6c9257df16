# SPDX-License-Identifier: Apache-2.0
"""State of a run that can be resumed: safetensors and JSON, replaced as a whole."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from groot_ros.checkpoint.weights import write_tensors
from groot_ros.core.config_reader import ConfigError, Fields

_WEIGHTS, _AVERAGE, _OPTIMISER, _PROGRESS = (
    "weights.safetensors",
    "average.safetensors",
    "optimiser.safetensors",
    "progress.json",
)
#: Tensors of AdamW for each parameter.
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Give an empty directory that takes the place of `path` at the end.

    An interrupted program leaves the old directory, or `path`.previous with the same content. After
    an error the new directory is removed: it may have filled the disk.
    """
    partial, previous = (path.with_name(f"{path.name}.{s}") for s in ("partial", "previous"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(path, previous)
    os.replace(partial, path)
    shutil.rmtree(previous, ignore_errors=True)


def complete_directory(path: Path) -> Path | None:
    """Return the directory, or the previous one of an interrupted replacement; None = neither."""
    previous = path.with_name(f"{path.name}.previous")
    return next((p for p in (path, previous) if p.is_dir()), None)


class Average:
    """Exponential moving average of the trained parameters.

    Attributes:
        values: name -> average, float32.

    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values = {n: p.detach().clone() for n, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the parameters after step number `step`, from 0.

        The memory is short at first, so that the initial values do not stay in the average.
        """
        decay = min(self._decay, (2 + step) / (11 + step))
        for name, value in self.values.items():
            value.lerp_(self._parameters[name], 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the parameters and their averages for a while."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self.values.items():
            parameter = self._parameters[name]
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)


def save_state(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    progress: Mapping[str, Any],
) -> None:
    """Write the state of a run.

    Args:
        path: directory, which is replaced.
        parameters: trained parameters by name.
        optimiser: AdamW.
        average: averaged weights.
        progress: contents of progress.json.

    """
    moments = {
        f"{kind}:{name}": torch.as_tensor(optimiser.state[parameter][kind])
        for name, parameter in parameters.items()
        for kind in _MOMENTS
        if kind in optimiser.state.get(parameter, {})
    }
    with replaced_directory(path) as folder:
        write_tensors(_on_cpu(parameters), folder / _WEIGHTS)
        write_tensors(_on_cpu(moments), folder / _OPTIMISER)
        if average is not None:
            write_tensors(_on_cpu(average.values), folder / _AVERAGE)
        text = json.dumps(progress, indent=2) + "\n"
        (folder / _PROGRESS).write_text(text, encoding="utf-8")


def read_progress(path: Path) -> dict[str, Any]:
    """Return progress.json of a state; "best" is NaN if nothing was held out.

    Raises:
        ValueError: there is no state to resume, or it is damaged.

    """
    folder = complete_directory(path)
    if folder is None:
        raise ValueError(f"there is no run to resume: {path} does not exist; leave --resume out")
    fields = Fields.read(folder / _PROGRESS, error_type=ConfigError)
    return {
        "step": fields.integer("step"),
        "best": fields.number("best", float("nan")),
        "samples": fields.integer("samples"),
        "data": fields.text("data", ""),
    }


@torch.no_grad()
def load_state(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    average: Average | None,
) -> None:
    """Read the state of a run into its objects.

    Raises:
        ValueError: the state is of another set of trained parameters, or damaged.

    """
    folder = complete_directory(path)
    assert folder is not None, "read_progress comes first"
    weights = _load(folder / _WEIGHTS)
    if weights.keys() != parameters.keys():
        other = sorted(weights.keys() ^ parameters.keys())[0]
        raise ValueError(f"{folder}: does not fit this run, as for '{other}': start a new run")
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
    if average is not None:
        for name, value in _load(folder / _AVERAGE).items():
            average.values[name].copy_(value)
    moments = _load(folder / _OPTIMISER)
    for name, parameter in parameters.items():
        found = {k: moments[f"{k}:{name}"] for k in _MOMENTS if f"{k}:{name}" in moments}
        if found:
            # The step count stays on the CPU, as AdamW keeps it.
            optimiser.state[parameter] = {
                k: v if k == "step" else v.to(parameter.device) for k, v in found.items()
            }


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{file} cannot be read: {error}; start a new run in another directory, for example "
            "from the checkpoint 'last'"
        ) from error


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
