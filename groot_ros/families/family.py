"""What a model family provides: everything outside `families` uses these protocols only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Observation, Prefix
from groot_ros.core.program import Binding, ModelInputs, Program, ProgramSource, Progress, Range

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Group -> [T, D] in the units of the checkpoint.
Groups = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class PolicySpec:
    """What a checkpoint expects and produces for one embodiment.

    Attributes:
        family: name of the model family.
        embodiment: tag.
        views: cameras, in the model's order.
        image_history, state_history: steps relative to now, oldest first.
        state_groups, action_groups: group -> columns, in the model's order.
        action_space: action group -> whether its columns are joints or an end-effector pose.
        horizon: steps of a chunk.
        first_step: step of the training data, relative to the observation, of a chunk's step 0.
        step_spacing: steps of the training data between two steps of a chunk.
        sampling_steps: denoising steps that the checkpoint asks for; 1 without sampling.
        supports_prefix: whether a chunk can continue committed motion (real-time chunking).
        stateful: whether an inference depends on earlier ones of the session.

    """

    family: str
    embodiment: str
    views: tuple[str, ...]
    image_history: tuple[int, ...]
    state_history: tuple[int, ...]
    state_groups: Mapping[str, int]
    action_groups: Mapping[str, int]
    action_space: Mapping[str, Literal["joint", "pose"]]
    horizon: int
    first_step: int = 0
    step_spacing: int = 1
    sampling_steps: int = 1
    supports_prefix: bool = False
    stateful: bool = False


class Processor(Protocol):
    """Observation to model inputs, and results of the program to actions; no torch.

    Observations and actions are in the units of the checkpoint.
    """

    def new_session(self) -> Any:
        """Return the state of a new session; None for a stateless family."""

    def encode(self, observation: Observation, session: Any = None) -> ModelInputs:
        """Return the model inputs of one observation.

        Raises:
            ValueError: a view or group is missing, misshapen or not finite.

        """

    def draw(self, seed: int) -> ModelInputs:
        """Return the random inputs of one inference; the same for the same seed."""

    def condition(self, prefix: Prefix, state: Groups) -> ModelInputs:
        """Return the inputs that make a chunk continue committed motion."""

    def draw_prefix(self, seed: int) -> ModelInputs:
        """Return the inputs of `condition` for drawn motion that uses each of them."""

    def used(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return those result values that are decoded, without padding; validation uses them."""

    def decode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        state: Groups,
        *,
        frozen_steps: int = 0,
        session: Any = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Return group -> [horizon, D] absolute actions, and advance the session.

        Args:
            outputs: results of the program.
            state: of the observation.
            frozen_steps: leading steps that repeat committed motion.
            session: from `new_session`.

        """

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """Return a valid observation: black images and a state at rest, or both drawn.

        Args:
            sizes: view -> (height, width).
            instruction: text.
            rng: draws states within the training statistics and images of coloured squares.

        """


class Checkpoint(ProgramSource, Protocol):
    """A checkpoint for one embodiment, of which everything but the weights was read and checked.

    Attributes:
        path: directory or file.
        spec: what it expects and produces.
        processor: for its embodiment.
        quantised: segments that `engine calibrate` quantises unless asked otherwise.

    """

    path: Path
    spec: PolicySpec
    processor: Processor
    quantised: tuple[str, ...]

    def digest(self) -> str:
        """Return a hex digest of everything that decides what the policy does."""

    def profile(
        self, image_sizes: Sequence[tuple[int, int]], instruction_tokens: int
    ) -> dict[str, Range]:
        """Return the sizes that engines are built for, by free dimension.

        Args:
            image_sizes: (height, width) of the cameras; one for all views, or one per view.
            instruction_tokens: the longest instruction that must fit.

        Raises:
            ValueError: the number of sizes is neither 1 nor that of the views.

        """

    def sizes(self, inputs: ModelInputs) -> dict[str, list[int]]:
        """Return the sizes of free dimensions that one observation needs."""


@dataclass(frozen=True)
class WeightGroup:
    """Size of one part of a network; `dtypes` in torch's names."""

    name: str
    parameters: int
    nbytes: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class GroupRange:
    """Training range of one group of columns, in the units of the checkpoint.

    Attributes:
        modality: "state" or "action".
        group: name.
        relative_to: state group that actions are offsets from, "" for absolute ones.
        normalisation: "min/max", "mean/std", ...
        low, high: [D], of the statistics that it is normalised with.
        extremes: smallest and largest training value, [D] each.

    """

    modality: Literal["state", "action"]
    group: str
    relative_to: str
    normalisation: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    extremes: tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class EmbodimentSummary:
    """One embodiment of a checkpoint; `problem` says why it cannot be used, "" if it can."""

    tag: str
    lines: tuple[str, ...]
    ranges: tuple[GroupRange, ...] = ()
    spec: PolicySpec | None = None
    problem: str = ""


@dataclass(frozen=True)
class CheckpointSummary:
    """What a checkpoint is, without reading its weights.

    Attributes:
        path: directory or file.
        model: name of the architecture.
        architecture: sizes, on one line.
        files: with weights.
        weights: by part of the network.
        notes: further lines, such as where assets were found.
        problem: why it cannot be loaded, "" if it can.
        embodiments: those asked for.

    """

    path: Path
    model: str
    architecture: str
    files: tuple[str, ...]
    weights: tuple[WeightGroup, ...]
    notes: tuple[str, ...]
    problem: str
    embodiments: tuple[EmbodimentSummary, ...]


@dataclass(frozen=True)
class DataLayout:
    """The data that a new checkpoint is made for.

    Attributes:
        embodiment: tag.
        views: cameras.
        state_groups, action_groups: group -> columns.
        relative: action groups that are offsets from the state of the same name.
        horizon: steps of a chunk.
        statistics: "state", "action" or "relative_action" -> group -> statistic -> values.
        image_edge: smaller side of the images that the model sees, None for the family's own.

    """

    embodiment: str
    views: tuple[str, ...]
    state_groups: Mapping[str, int]
    action_groups: Mapping[str, int]
    horizon: int
    relative: frozenset[str] = frozenset()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    image_edge: int | None = None


@dataclass(frozen=True)
class Episode:
    """A recorded episode: arrays over time in the units of the checkpoint.

    Attributes:
        images: view -> uint8 RGB [T, H, W, 3].
        state, action: group -> [T, D].
        instruction: text.

    """

    images: Mapping[str, NDArray[np.uint8]]
    state: Groups
    action: Groups
    instruction: str


class Trainer(Protocol):
    """A network in training.

    Attributes:
        model: whose parameters learn.

    """

    model: "nn.Module"

    def training_sample(
        self, episode: Episode, index: int, rng: np.random.Generator | None = None
    ) -> Any:
        """Return the sample at one time step; `rng` draws the image augmentation."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return a batch on the device of the model."""

    def loss(self, batch: Any, generator: "torch.Generator | None" = None) -> dict[str, "Tensor"]:
        """Return the loss under "loss", and its parts by name."""

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Freeze and unfreeze parts; return groups for an optimiser.

        Args:
            switches: `tune_*` options of the family that differ from the checkpoint's.

        """

    def save(self, path: Path) -> None:
        """Write the checkpoint directory."""


@dataclass(frozen=True)
class Demonstrations:
    """Rendered demonstrations, N states that each come with I instructions.

    Attributes:
        images: uint8 [N, views, 3, h, w], from `SmallTrainer.transform`.
        state: group -> [N, D].
        action: group -> [N, I, H, D].
        instructions: I texts.
        goals: [N, I, K], where each instruction leads.
        cells: float32 [N, image tokens, C], what each image token shows.

    """

    images: NDArray[np.uint8]
    state: Groups
    action: Groups
    instructions: tuple[str, ...]
    goals: NDArray[np.float64]
    cells: NDArray[np.float32]


class SmallTrainer(Protocol):
    """A small network of the family, trained from random weights on a CPU in minutes."""

    @property
    def cell(self) -> int:
        """Side in pixels of one image token."""

    def transform(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame [H, W, 3] as the model sees it, [3, h, w]."""

    def train_backbone(
        self, data: Demonstrations, steps: int, generator: "torch.Generator", report: Progress
    ) -> None:
        """Teach the backbone to locate; `report` receives the loss of each step."""

    def train_head(
        self, data: Demonstrations, steps: int, generator: "torch.Generator", report: Progress
    ) -> None:
        """Teach the action head on the backbone's features."""

    def save(self, path: Path) -> None:
        """Write the checkpoint directory."""


@dataclass(frozen=True)
class SegmentWork:
    """Bytes that one run of a segment reads, and operations that it does."""

    nbytes: float
    operations: float


class BenchmarkCase(Protocol):
    """One part of the published network with random weights, and inputs for it.

    Attributes:
        description: of the input, for the table's heading.
        stage: name of the part.
        steps: denoising steps.
        device: of weights and inputs.

    """

    description: str
    stage: str
    steps: int
    device: "torch.device"

    def program(self) -> Program:
        """Return a new staged model with this part at full size."""

    def reference(self) -> Callable[[], "Tensor"]:
        """Return the reference model's share as a callable."""

    def tensors(self, program: Program) -> tuple[Binding, dict[str, "Tensor"]]:
        """Return a bound observation, and the tensors that earlier stages would have computed."""

    def work(self, program: Program) -> dict[str, SegmentWork]:
        """Return bytes and operations by segment."""


class Family(Protocol):
    """A model family.

    Attributes:
        name: as in the registry and in manifests.
        recognised_by: what `matches` looks for, for error messages.

    """

    name: str
    recognised_by: str

    def matches(self, path: Path) -> bool:
        """Tell whether this is a checkpoint of the family; reads names and JSON files only."""

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Checkpoint:
        """Read everything but the weights.

        Args:
            path: directory or file.
            embodiment: tag.
            assets: directory or hub id of files that the checkpoint relies on but lacks.
            base: checkpoint that this one refers to, where it does.

        Raises:
            CheckpointError: one line naming file and key.

        """

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """Summarise a checkpoint; problems become part of the summary where they can."""

    def published_config(self, layout: DataLayout) -> Any:
        """Return the configuration of the published model for other data."""

    def write_config(self, config: Any, out: Path) -> None:
        """Write everything of a checkpoint except its weights, with a small tokenizer."""

    def random_checkpoint(self, config: Any, seed: int, out: Path, **options: Any) -> Path:
        """Write a complete checkpoint with random weights."""

    def trainer(self, path: Path, *, embodiment: str, device: "torch.device") -> Trainer:
        """Open a checkpoint for training."""

    def small_trainer(self, layout: DataLayout, seed: int) -> SmallTrainer:
        """Return a small network with random weights for this data."""

    def benchmark(
        self, stage: str, horizon: int, device: "torch.device", dtype: "torch.dtype"
    ) -> BenchmarkCase:
        """Return a benchmark of one stage at published size."""

    def resident_bytes(self, horizon: int, dtype: "torch.dtype") -> int:
        """Return the memory that the published model's weights and tables take."""


def weight_bytes(path: Path) -> int:
    """Return the size of a checkpoint's weight files."""
    files: Iterable[Path] = [path] if path.is_file() else path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)
