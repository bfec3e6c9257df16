# SPDX-License-Identifier: Apache-2.0
"""A program without a model: every kind of segment, with arithmetic that tests can follow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.core.program import Binding, ModelInputs, ProgramSpec, Segment, TensorSpec

WIDTH = 3


def _row(name: str) -> TensorSpec:
    return TensorSpec(name, (WIDTH,), "float32")


SPEC = ProgramSpec(
    (
        Segment(
            *("prompt", "text", (_row("ids"),), (_row("scale"), _row("offset"))),
            per="prompt",
            constants=("ids",),
        ),
        Segment(
            *("vision", "backbone", (_row("pixels"),), (_row("patches"),)),
            repeat="images",
            observed=("pixels",),
        ),
        Segment(
            "mix", "backbone", (_row("total"), _row("scale"), _row("offset")), (_row("mixed"),)
        ),
        Segment(
            *("denoise", "head", (_row("actions"), _row("mixed")), (_row("actions"),)),
            per="step",
            repeat="steps",
            observed=("noise",),
        ),
    ),
    results=("actions", "mixed"),
)


class _Module(nn.Module):
    """Counts its runs, and returns buffers that the next run overwrites, as a file's engine may."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.runs = name, 0
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self._buffers_of_outputs: list[Tensor] = []

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        self.runs += 1
        results = self.compute(*inputs)
        if not self._buffers_of_outputs or self.name == "vision":
            self._buffers_of_outputs = [torch.empty_like(result) for result in results]
        for buffer, result in zip(self._buffers_of_outputs, results, strict=True):
            buffer.copy_(result)
        several = tuple(self._buffers_of_outputs)
        return several if len(several) > 1 else several[0]

    def compute(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.name == "prompt":
            return 2.0 * inputs[0], inputs[0] + 1.0
        if self.name == "vision":
            return (10.0 * inputs[0],)
        if self.name == "mix":
            total, scale, offset = inputs
            return (total * scale + offset,)
        actions, mixed = inputs
        return (0.5 * actions + mixed,)


class ToyProgram:
    """`core.program.Program` of `SPEC`; inputs are "ids", "image.<i>" and "noise", [WIDTH] each."""

    spec = SPEC
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self) -> None:
        self.modules = {name: _Module(name) for name in SPEC.names}

    @property
    def nbytes(self) -> int:
        return 4 * len(self.modules)

    @property
    def runs(self) -> dict[str, int]:
        """Segment -> how often it ran."""
        return {name: module.runs for name, module in self.modules.items()}

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        count = sum(name.startswith("image.") for name in inputs)
        pixels = {f"pixels#{i}": torch.from_numpy(inputs[f"image.{i}"]) for i in range(count)}
        return Binding(
            {"ids": torch.from_numpy(inputs["ids"])},
            {**pixels, "noise": torch.from_numpy(inputs["noise"])},
            counts={"images": count, "steps": steps},
            prompt=inputs["ids"].tobytes(),
        )

    def arguments(self, segment: str, index: int, tensors: Mapping[str, Any]) -> Sequence[Tensor]:
        if segment == "prompt":
            return [tensors["ids"]]
        if segment == "vision":
            return [tensors[f"pixels#{index}"]]
        if segment == "mix":
            return [torch.stack(tensors["patches"]).sum(0), tensors["scale"], tensors["offset"]]
        return [tensors["actions"] if index else tensors["noise"], tensors["mixed"]]

    def pack(self) -> None:
        """Do nothing."""


def toy_inputs(seed: int = 0, prompt: float = 1.0, images: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    drawn = {f"image.{i}": rng.normal(size=WIDTH).astype(np.float32) for i in range(images)}
    noise = rng.normal(size=WIDTH).astype(np.float32)
    return {"ids": np.full(WIDTH, prompt, np.float32), **drawn, "noise": noise}


def toy_outputs(inputs: ModelInputs, steps: int) -> dict[str, np.ndarray]:
    """Return what the program computes."""
    total = sum(10.0 * array for name, array in inputs.items() if name.startswith("image."))
    mixed = total * (2.0 * inputs["ids"]) + (inputs["ids"] + 1.0)
    actions = inputs["noise"]
    for _ in range(steps):
        actions = 0.5 * actions + mixed
    return {"actions": actions, "mixed": mixed}
