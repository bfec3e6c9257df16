# SPDX-License-Identifier: Apache-2.0
"""Interface of a model family: code outside `families` uses these protocols only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation, Prefix
from groot_ros.core.program import Binding, ModelInputs, Program, ProgramSource, Range
from groot_ros.core.prompt import Pictures
from groot_ros.families.training import DataLayout, FamilyData, Trainer
from groot_ros.vision.augmentation import Augmentation

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class PolicySpec:
    """Inputs and outputs of a checkpoint for one embodiment.

    Attributes:
        family: name of the model family.
        embodiment: tag.
        views: cameras, in the model's order.
        image_history, state_history: steps relative to now, oldest first.
        state_groups, action_groups: group -> columns, in the model's order.
        action_space: action group -> "joint", or "pose" of an end effector.
        horizon: steps of a chunk.
        first_step: time of a chunk's step 0, in steps of the training data after the observation.
        step_spacing: steps of the training data between two steps of a chunk.
        sampling_steps: default number of denoising steps; 1 without sampling.
        supports_prefix: True if a chunk can continue committed motion (real-time chunking).
        stateful: True if an inference depends on earlier ones of the session.
        labels: True if each image needs labels of the objects that it shows.
        pictures: True if prompts may contain pictures.
        action: "chunk" of joint positions, or "pick_place": two poses on a table, which a primitive
            of the robot turns into motion. Its chunks have `horizon` steps.
        sources: field of this record -> file and key that it was read from, for messages.
        ranges: training ranges of its groups, as far as they are known.

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
    labels: bool = False
    pictures: bool = False
    action: Literal["chunk", "pick_place"] = "chunk"
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    ranges: "tuple[GroupRange, ...]" = field(default=(), compare=False)


class Processor(Protocol):
    """Converter of observations to model inputs and of the program's results to actions.

    It does not import torch. Observations and actions are in the units of the checkpoint.
    """

    def new_session(self) -> Any:
        """Return the state of a new session; None for a stateless family."""

    def encode(self, observation: Observation, session: Any = None) -> ModelInputs:
        """Return the model inputs of one observation.

        Raises:
            ValueError: a view or group is missing, misshapen or not finite.

        """

    def draw(self, seed: int) -> ModelInputs:
        """Return the random inputs of one inference; equal seeds give equal inputs."""

    def condition(self, prefix: Prefix, state: Groups) -> ModelInputs:
        """Return the inputs that make a chunk continue committed motion.

        Args:
            prefix: the committed motion.
            state: state of the observation.

        """

    def draw_prefix(self, seed: int) -> ModelInputs:
        """Return the inputs of `condition` for random motion, with each of them in use."""

    def used(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the result values that are decoded, without padding; validation compares them."""

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
            state: state of the observation.
            frozen_steps: leading steps that repeat committed motion.
            session: session from `new_session`.

        """

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """Return a valid observation, constant or random.

        Args:
            sizes: view -> (height, width).
            instruction: text.
            rng: draws a state within the training statistics and images of coloured squares; None
                gives black images and a state in the middle of the training data.

        """


class Checkpoint(ProgramSource, Protocol):
    """Checkpoint for one embodiment; everything except its weights has been read and checked.

    Attributes:
        path: directory or file.
        spec: inputs and outputs.
        processor: processor of the embodiment.
        quantised: segments that `engine calibrate` quantises by default.

    """

    path: Path
    spec: PolicySpec
    processor: Processor
    quantised: tuple[str, ...]

    def digest(self) -> str:
        """Return a hex digest of the files that determine what the policy does."""

    def profile(
        self, image_sizes: Sequence[tuple[int, int]], instruction_tokens: int
    ) -> dict[str, Range]:
        """Return the sizes that engines are built for, by free dimension.

        Args:
            image_sizes: (height, width) of the cameras; one for all views, or one per view.
            instruction_tokens: number of tokens of the longest supported instruction.

        Raises:
            ValueError: the number of sizes is neither 1 nor the number of views.

        """

    def sizes(self, inputs: ModelInputs) -> dict[str, list[int]]:
        """Return the sizes of free dimensions that the inputs of one observation need."""


class TablePose(Protocol):
    """Pose on a table."""

    @property
    def x(self) -> float:
        """Position along the table's x axis, m."""

    @property
    def y(self) -> float:
        """Position along the table's y axis, m."""

    @property
    def rotation(self) -> tuple[float, float, float, float]:
        """Unit quaternion x, y, z, w."""


class PickPlace(Protocol):
    """Action on a table: where an object is picked up, or a push begins, and where it ends."""

    @property
    def pick(self) -> TablePose:
        """First pose."""

    @property
    def place(self) -> TablePose:
        """Second pose."""


class PickPlaceSession(Protocol):
    """One prompt, and the actions so far."""

    def step(
        self,
        images: Mapping[str, NDArray[np.uint8]],
        labels: Mapping[str, NDArray[np.integer]],
        tool: str,
    ) -> PickPlace:
        """Return the next action; it counts as executed unless it is taken back.

        Args:
            images: view -> RGB [H, W, 3].
            labels: view -> object of each pixel [H, W], 0 = background.
            tool: "suction" or "spatula".

        Raises:
            UnusableObjectsError: the labels do not show the same objects in all views.
            ValueError: there is no action, for example because the history is full.

        """

    def take_back(self) -> None:
        """Forget the last action, which was not executed."""


class PickPlaceModel(Protocol):
    """Network whose actions are two poses on a table.

    Attributes:
        memory_bytes: memory of its weights.

    """

    memory_bytes: int

    def session(
        self, text: str, pictures: Pictures, low: tuple[float, float], high: tuple[float, float]
    ) -> PickPlaceSession:
        """Begin a task.

        Args:
            text: words and placeholders.
            pictures: pictures of the placeholders.
            low: corner of the table's area with the smallest x and y, m.
            high: opposite corner.

        Raises:
            ValueError: the prompt cannot be resolved; one line.

        """

    def warm_up(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Run a step on drawn objects, so that the first real one is not slow."""


class PickPlaceCheckpoint(Protocol):
    """Checkpoint of a family whose actions are two poses on a table.

    Attributes:
        path: directory or file.
        spec: inputs and outputs, with `action` "pick_place".

    """

    path: Path
    spec: PolicySpec

    def digest(self) -> str:
        """Return a hex digest of the files that determine what the policy does."""

    def load(self, device: "torch.device") -> PickPlaceModel:
        """Load the weights, in float32.

        Raises:
            CheckpointError: they are damaged or do not fit the configuration.
            ImportError: a package is missing; the message names the extra that installs it.

        """


class UnusableObjectsError(ValueError):
    """The labels of an observation do not show the same objects in all views."""


@dataclass(frozen=True)
class WeightGroup:
    """Size of one part of a network.

    Attributes:
        name: part of the network.
        parameters: number of parameters.
        nbytes: size in bytes.
        dtypes: element types, as torch names them.

    """

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
        relative_to: state group that actions are offsets from; "" for absolute actions.
        normalisation: "min/max", "q01/q99", "mean/std" or "sin/cos".
        low, high: limits of the statistics that it is normalised with, [D] each.
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
    """Summary of one embodiment of a checkpoint.

    Attributes:
        tag: embodiment.
        lines: description for people.
        ranges: training ranges of its groups.
        spec: inputs and outputs, None if they cannot be determined.
        problem: reason why it cannot be used, "" if it can.

    """

    tag: str
    lines: tuple[str, ...]
    ranges: tuple[GroupRange, ...] = ()
    spec: PolicySpec | None = None
    problem: str = ""


@dataclass(frozen=True)
class CheckpointSummary:
    """Summary of a checkpoint, made without reading its weights.

    Attributes:
        path: directory or file.
        model: name of the architecture.
        architecture: sizes, on one line.
        files: names of the weight files.
        weights: size of each part of the network.
        notes: further lines, such as where assets were found.
        problem: reason why it cannot be loaded, "" if it can.
        embodiments: the requested embodiments.

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
class SegmentWork:
    """Bytes that one run of a segment reads, and operations that it performs."""

    nbytes: float
    operations: float


class BenchmarkCase(Protocol):
    """One stage of the published network with random weights, and inputs for it.

    Attributes:
        description: description of the inputs, for the table's heading.
        stage: name of the stage.
        steps: number of denoising steps.
        device: device of weights and inputs.

    """

    description: str
    stage: str
    steps: int
    device: "torch.device"

    def program(self) -> Program:
        """Return a new staged model with this stage at full size."""

    def reference(self) -> Callable[[], "Tensor"]:
        """Return a callable that runs this stage of the reference model."""

    def tensors(self, program: Program) -> tuple[Binding, dict[str, "Tensor"]]:
        """Return a bound observation, and the tensors that earlier stages would compute."""

    def work(self, program: Program) -> dict[str, SegmentWork]:
        """Return the bytes and operations of each segment by name."""


class Family(Protocol):
    """Model family: opens, describes, creates and trains checkpoints of one kind.

    Attributes:
        name: name in the registry and in manifests.
        recognised_by: description of what `matches` looks for, for error messages.
        lora_targets: pattern of the names of the linear layers that LoRA adapts.

    """

    name: str
    recognised_by: str
    lora_targets: str

    def matches(self, path: Path) -> bool:
        """Tell whether this is a checkpoint of the family, from file names and JSON files only."""

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> "Checkpoint | PickPlaceCheckpoint":
        """Read and check everything except the weights.

        Args:
            path: directory or file.
            embodiment: tag.
            assets: directory or hub id of files that the checkpoint needs but does not contain.
            base: base checkpoint, for a checkpoint that refers to one.

        Raises:
            CheckpointError: a file is missing or malformed; one line that names file and key.

        """

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """Summarise a checkpoint; most problems are reported in the summary, not raised.

        Args:
            path: directory or file.
            embodiment: tag; None summarises all embodiments.
            assets: see `open`.
            base: see `open`.

        """

    def published_config(self, layout: DataLayout) -> Any:
        """Return the configuration of the published model for data of this layout."""

    def write_config(self, config: Any, out: Path) -> None:
        """Write all files of a checkpoint except its weights, with a small tokenizer."""

    def random_checkpoint(self, config: Any, seed: int, out: Path, **options: Any) -> Path:
        """Write a complete checkpoint with random weights and return its path."""

    def read_data(self, paths: Sequence[Path]) -> FamilyData | None:
        """Read training data in a form of the family; None = it trains on LeRobot data sets.

        Raises:
            ConfigError: data are missing, damaged or do not fit each other.

        """

    def trainer(
        self,
        path: Path,
        *,
        embodiment: str,
        device: "torch.device",
        dtype: "torch.dtype | None" = None,
    ) -> Trainer:
        """Open a checkpoint for training, on LeRobot data sets as a `ChunkTrainer`.

        Args:
            path: directory.
            embodiment: tag; only its rows of the category-specific weights are loaded.
            device: device of the weights.
            dtype: element type of weights that are not trained; None = float32, as of the others.

        """

    def training_shapes(
        self, path: Path, *, embodiment: str
    ) -> dict[str, tuple[tuple[int, ...], bool]]:
        """Return the parameters that `trainer` would load, without reading them.

        Returns:
            Name -> shape, with one row per embodiment, and whether it is trained.

        """

    def write_adapted(
        self,
        source: Path,
        layout: DataLayout,
        out: Path,
        *,
        changes: Mapping[str, Any],
        augmentation: Augmentation,
        assets: str | Path | None = None,
    ) -> None:
        """Write a checkpoint that is another one, for other data; `out` links to its weights.

        The entry of the embodiment is replaced, or added if there is none. Other embodiments, and
        keys that this version does not know, are kept.

        Args:
            source: checkpoint.
            layout: embodiment, groups and statistics; without statistics those of the source stay.
            out: directory to create.
            changes: `tune_*` switches, `state_dropout_prob` and `num_inference_timesteps`.
            augmentation: stated in the files if the family's files have it.
            assets: directory or hub id of files that the checkpoint needs but does not contain.

        Raises:
            ValueError: a switch does not exist.
            CheckpointError: the checkpoint is damaged, or the data do not fit it.

        """

    def small_checkpoint(self, layout: DataLayout, seed: int, out: Path) -> Path:
        """Write a checkpoint of a few million parameters with random weights, to be trained."""

    def benchmark(
        self, stage: str, horizon: int, device: "torch.device", dtype: "torch.dtype"
    ) -> BenchmarkCase:
        """Return a benchmark of one stage at published size, for chunks of `horizon` steps."""

    def resident_bytes(self, horizon: int, dtype: "torch.dtype") -> int:
        """Return the memory of the published model's weights and tables in bytes."""
