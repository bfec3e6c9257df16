# SPDX-License-Identifier: Apache-2.0
"""A tiny third-party model family: stateful, with a prompt segment; no model of the package.

The network embeds the words of the instruction once per prompt, reads the mean colour of the
images and a history of states, and denoises a chunk in a few steps. A checkpoint is a directory
with toy.json and toy.safetensors.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groot_ros.core import Observation, Prefix
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.core.program import (
    Binding,
    FreeDim,
    ModelInputs,
    ProgramSpec,
    Range,
    Segment,
    Tensors,
    TensorSpec,
)
from groot_ros.families.family import (
    CheckpointSummary,
    EmbodimentSummary,
    GroupRange,
    PolicySpec,
    WeightGroup,
)

TAG = "toy_arm"
VIEWS = ("front", "wrist")
GROUPS = {"single_arm": 5, "gripper": 1}
HORIZON, WIDTH, VOCABULARY, STEPS = 8, 16, 64, 3
#: Longest history of states.
HISTORY = 4
_COLUMNS = sum(GROUPS.values())
_CHUNK = (1, HORIZON, _COLUMNS)

PROMPT = TensorSpec("prompt_features", (1, WIDTH))
CONTEXT = TensorSpec("context", (1, WIDTH))
SPEC = ProgramSpec(
    (
        Segment(
            "prompt",
            "prompt",
            inputs=(TensorSpec("words", (1, "words"), "int64"),),
            outputs=(PROMPT,),
            per="prompt",
            constants=("words",),
        ),
        Segment(
            "observe",
            "policy",
            inputs=(
                PROMPT,
                TensorSpec("colours", (1, 3 * len(VIEWS)), "float32"),
                TensorSpec("history", (1, "history", _COLUMNS), "float32"),
            ),
            outputs=(CONTEXT,),
            observed=("colours", "history"),
        ),
        Segment(
            "act",
            "policy",
            inputs=(TensorSpec("actions", _CHUNK, "float32"), CONTEXT),
            outputs=(TensorSpec("next_actions", _CHUNK, "float32"),),
            per="step",
            repeat="steps",
            observed=("noise",),
        ),
    ),
    results=("next_actions",),
    free_dims={"words": FreeDim(3), "history": FreeDim(2, maximum=HISTORY)},
)


class Prompt(nn.Module):
    """Words to features; counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.runs = 0

    def forward(self, words: Tensor) -> Tensor:
        self.runs += 1
        return torch.tanh(self.mix(self.embed(words).mean(1)))


class Observe(nn.Module):
    """Prompt, colours and history to a context."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Linear(3 * len(VIEWS), WIDTH)
        self.history = nn.Linear(_COLUMNS, WIDTH)

    def forward(self, prompt: Tensor, colours: Tensor, history: Tensor) -> Tensor:
        return torch.tanh(prompt + self.colours(colours) + self.history(history).sum(1))


class Act(nn.Module):
    """One denoising step."""

    def __init__(self) -> None:
        super().__init__()
        self.actions = nn.Linear(_COLUMNS, WIDTH)
        self.out = nn.Linear(WIDTH, _COLUMNS)

    def forward(self, actions: Tensor, context: Tensor) -> Tensor:
        return 0.5 * actions + 0.2 * self.out(torch.tanh(self.actions(actions) + context[:, None]))


class Network(nn.Module):
    """The network as written."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt, self.observe, self.act = Prompt(), Observe(), Act()


class ToyProgram:
    """See `core.program.Program`."""

    spec = SPEC
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules
        self._words: dict[bytes, Tensor] = {}

    @property
    def nbytes(self) -> int:
        return sum(p.nbytes for module in self.modules.values() for p in module.parameters())

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        key = inputs["words"].tobytes()
        words = self._words.setdefault(key, torch.from_numpy(inputs["words"]))
        names = ("colours", "history", "noise")
        observed = {name: torch.from_numpy(inputs[name]) for name in names}
        return Binding({"words": words}, observed, counts={"steps": steps}, prompt=key)

    def arguments(self, segment: str, index: int, tensors: Tensors) -> Sequence[Tensor]:
        if segment == "act":
            return [tensors["next_actions"] if index else tensors["noise"], tensors["context"]]
        return [tensors[tensor.name] for tensor in SPEC.segment(segment).inputs]

    def pack(self) -> None:
        """Nothing to reorder."""


class ToyReference:
    """See `core.program.ReferenceModel`."""

    device = torch.device("cpu")

    def __init__(self, network: Network) -> None:
        self._network = network

    @property
    def nbytes(self) -> int:
        return sum(p.nbytes for p in self._network.parameters())

    def run(
        self, inputs: ModelInputs, steps: int, mark: Callable[[str], None]
    ) -> dict[str, Tensor]:
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        features = self._network.prompt(given["words"])
        mark("prompt")
        context = self._network.observe(features, given["colours"], given["history"])
        actions = given["noise"]
        for _ in range(steps):
            actions = self._network.act(actions, context)
        mark("policy")
        return {"next_actions": actions}


class ToyProcessor:
    """See `families.family.Processor`."""

    def new_session(self) -> deque[np.ndarray]:
        return deque(maxlen=HISTORY - 1)

    def encode(self, observation: Observation, session: Any = None) -> dict[str, np.ndarray]:
        missing = [view for view in VIEWS if view not in observation.images]
        if missing:
            raise ValueError(f"camera '{missing[0]}' is missing")
        now = np.concatenate([observation.state[group][-1] for group in GROUPS])
        states = [*(session or ()), now]
        words = [sum(map(ord, word)) % VOCABULARY for word in observation.instruction.split()]
        colours = [observation.images[view].mean((0, 1, 2)) / 255.0 for view in VIEWS]
        return {
            "words": np.array([words or [0]], dtype=np.int64),
            "colours": np.concatenate(colours)[None].astype(np.float32),
            "history": np.array([states], dtype=np.float32) / 100.0,
        }

    def draw(self, seed: int) -> dict[str, np.ndarray]:
        return {"noise": np.random.default_rng(seed).normal(size=_CHUNK).astype(np.float32)}

    def condition(self, prefix: Prefix, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def draw_prefix(self, seed: int) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def used(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return outputs["next_actions"][0]

    def decode(
        self,
        outputs: Mapping[str, np.ndarray],
        state: Mapping[str, np.ndarray],
        *,
        frozen_steps: int = 0,
        session: Any = None,
    ) -> dict[str, np.ndarray]:
        now = np.concatenate([state[group][-1] for group in GROUPS])
        if session is not None:
            session.append(now)
        absolute = now + np.tanh(self.used(outputs))
        arm = GROUPS["single_arm"]
        return {
            "single_arm": absolute[:, :arm].astype(np.float32),
            "gripper": absolute[:, arm:].clip(0.0, 100.0).astype(np.float32),
        }

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        def value(width: int) -> np.ndarray:
            return np.zeros((1, width)) if rng is None else rng.uniform(0.0, 10.0, (1, width))

        def image(size: tuple[int, int]) -> np.ndarray:
            pixels = np.zeros((1, *size, 3), dtype=np.uint8)
            return pixels if rng is None else pixels + np.uint8(rng.integers(0, 255))

        images = {view: image(sizes[view]) for view in VIEWS}
        return Observation(0, images, {g: value(w) for g, w in GROUPS.items()}, instruction)


class ToyCheckpoint:
    """See `families.family.Checkpoint`."""

    program = SPEC
    quantised = ("observe",)
    spec = PolicySpec(
        family="toy",
        embodiment=TAG,
        views=VIEWS,
        image_history=(0,),
        state_history=(0,),
        state_groups=GROUPS,
        action_groups=GROUPS,
        action_space=dict.fromkeys(GROUPS, "joint"),
        horizon=HORIZON,
        sampling_steps=STEPS,
        stateful=True,
    )

    def __init__(self, path: Path) -> None:
        self.path, self.processor = path, ToyProcessor()

    def digest(self) -> str:
        return hashlib.sha256((self.path / "toy.safetensors").read_bytes()).hexdigest()

    def load_program(
        self,
        *,
        device: torch.device,
        dtype: torch.dtype,
        segments: Collection[str] | None = None,
        step_counts: Collection[int] = (),
        progress: Callable[[float], None] | None = None,
    ) -> ToyProgram:
        network = self._network()
        chosen = SPEC.names if segments is None else segments
        return ToyProgram({name: getattr(network, name) for name in SPEC.names if name in chosen})

    def load_reference(
        self,
        *,
        device: torch.device,
        dtype: torch.dtype,
        progress: Callable[[float], None] | None = None,
    ) -> ToyReference:
        return ToyReference(self._network())

    def profile(
        self, image_sizes: Sequence[tuple[int, int]], instruction_tokens: int
    ) -> dict[str, Range]:
        return {"words": Range(1, 4, instruction_tokens), "history": Range(1, 2, HISTORY)}

    def sizes(self, inputs: ModelInputs) -> dict[str, list[int]]:
        return {"words": [inputs["words"].shape[1]], "history": [inputs["history"].shape[1]]}

    def _network(self) -> Network:
        network = Network().requires_grad_(False)
        network.load_state_dict(load_file(self.path / "toy.safetensors"))
        return network.eval()


class ToyFamily:
    """See `families.family.Family`, as far as inference needs it."""

    name = "toy"
    recognised_by = "toy.json"

    def matches(self, path: Path) -> bool:
        return (path / "toy.json").is_file()

    def open(
        self, path: Path, *, embodiment: str, assets: Any = None, base: Any = None
    ) -> ToyCheckpoint:
        fields = Fields.read(path / "toy.json")
        if embodiment != fields.text("embodiment"):
            raise CheckpointError(f"{path / 'toy.json'}: has no embodiment '{embodiment}'")
        return ToyCheckpoint(path)

    def describe(
        self, path: Path, *, embodiment: str | None = None, assets: Any = None, base: Any = None
    ) -> CheckpointSummary:
        low, high = (np.full(GROUPS["single_arm"], v) for v in (-90.0, 90.0))
        ranges = (GroupRange("state", "single_arm", "", "none", low, high, (low, high)),)
        tag = EmbodimentSummary(TAG, (f"embodiment {TAG}",), ranges, ToyCheckpoint.spec)
        count = sum(p.numel() for p in Network().parameters())
        weights = (WeightGroup("all", count, 4 * count, ("float32",)),)
        return CheckpointSummary(
            path, "Toy", "3 segments", ("toy.safetensors",), weights, (), "", (tag,)
        )


def write_toy_checkpoint(directory: Path) -> Path:
    """Write toy.json and random weights."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    save_file(Network().state_dict(), directory / "toy.safetensors")
    (directory / "toy.json").write_text(json.dumps({"embodiment": TAG}))
    return directory


def register(site: Path) -> None:
    """Write the metadata of an installed package that registers the family by entry point."""
    info = site / "toy_family-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[groot_ros.families]\ntoy = support.toy_family\n")


FAMILY = ToyFamily()
