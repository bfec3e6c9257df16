# SPDX-License-Identifier: Apache-2.0
"""Model interface of the engines: an ordered list of segments with named tensors.

A model family describes its network as a `Program`; an engine executes programs and depends on
nothing else of the model. This module is importable without torch: tensors appear in annotations
only.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Host arrays by name, one observation at a time (batch dimensions are 1).
ModelInputs = Mapping[str, NDArray[Any]]
#: Tensors by name; the outputs of a repeated segment that is not a step are a list.
Tensors = Mapping[str, Any]

#: Called with the fraction of the work that is done.
Progress = Callable[[float], None]

#: Element type of a tensor; "weights" is the precision that the engine runs in.
Kind = Literal["weights", "float32", "int64", "bool"]
#: Frequency of a segment: once per prompt, per observation, or per denoising step.
Per = Literal["prompt", "observation", "step"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, dimensions and element type of one tensor; a dimension is a size or a free name."""

    name: str
    dims: tuple[int | str, ...]
    kind: Kind = "weights"


@dataclass(frozen=True)
class FreeDim:
    """One free dimension of a program.

    Attributes:
        example: size used to trace the segments; 2 or more, as the tracer specialises 0 and 1.
        multiple_of: name of another free dimension that this one is `factor` times as large as.
        factor: see `multiple_of`.
        maximum: largest size that the program supports; 0 = no limit.

    """

    example: int
    multiple_of: str = ""
    factor: int = 1
    maximum: int = 0


class Range(NamedTuple):
    """Sizes of one free dimension that engines are built for: least, usual, most."""

    low: int
    usual: int
    high: int


@dataclass(frozen=True)
class Segment:
    """One exportable part of a network.

    Attributes:
        name: name of the segment, and stem of its exported files.
        stage: group of consecutive segments that is timed, and recorded as one CUDA graph.
        inputs: tensors that the module takes, in order.
        outputs: tensors that it returns, in order.
        per: how often it runs. Outputs of a "prompt" stage are cached until the prompt changes.
        repeat: key of `Binding.counts` with the number of runs; "" = run once.
        constants: host tensors it reads that change only with the prompt, the input shapes or the
            number of steps.
        observed: host tensors it reads that are new with every observation.

    """

    name: str
    stage: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    per: Per = "observation"
    repeat: str = ""
    constants: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()

    @property
    def lists_outputs(self) -> bool:
        """Return True if the outputs are lists with one entry per repetition."""
        return bool(self.repeat) and self.per != "step"

    def sizes(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Return the free dimensions that the given shapes of all inputs imply.

        Raises:
            ValueError: a shape does not match the specification, or two tensors disagree.

        """
        sizes: dict[str, int] = {}
        for tensor in self.inputs:
            given = tuple(shapes[tensor.name])
            if len(given) != len(tensor.dims):
                raise ValueError(f"{self.name}: '{tensor.name}' is {given}, expected {tensor.dims}")
            for dim, size in zip(tensor.dims, given, strict=True):
                expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
                if size != expected:
                    raise ValueError(
                        f"{self.name}: '{tensor.name}' is {given}, but '{dim}' is {expected}"
                    )
        return sizes


@dataclass(frozen=True)
class Stage:
    """Consecutive segments that are timed and recorded together.

    Attributes:
        name: name of the stage, also used in `ActionChunk.stage_seconds`.
        segments: segments in order of execution.
        carried: names of tensors it reads that earlier stages computed.
        results: names of tensors that later stages, or the caller, read.

    """

    name: str
    segments: tuple[Segment, ...]
    carried: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def per_prompt(self) -> bool:
        """Return True if the results depend on the prompt alone."""
        return all(segment.per == "prompt" for segment in self.segments)

    @property
    def constants(self) -> frozenset[str]:
        """Return the names of `Segment.constants` of all segments."""
        return frozenset(name for segment in self.segments for name in segment.constants)

    @property
    def observed(self) -> frozenset[str]:
        """Return the names of the host tensors that are new with every observation."""
        return frozenset(name for segment in self.segments for name in segment.observed)

    def loops(self) -> Iterator[tuple[Segment, ...]]:
        """Yield groups of segments that run in turn; consecutive "step" segments form one group."""
        group: list[Segment] = []
        for segment in self.segments:
            if group and (segment.per != "step" or group[-1].per != "step"):
                yield tuple(group)
                group = []
            group.append(segment)
        yield tuple(group)


@dataclass(frozen=True)
class ProgramSpec:
    """Description of a program without its weights.

    Attributes:
        segments: segments in order of execution.
        results: names of the tensors that the caller receives.
        free_dims: every free dimension of the segments, by name.

    """

    segments: tuple[Segment, ...]
    results: tuple[str, ...]
    free_dims: Mapping[str, FreeDim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [segment.name for segment in self.segments]
        if len(set(names)) != len(names):
            raise ValueError(f"segments must have distinct names, not {', '.join(names)}")
        stages = [name for name, _ in self._grouped()]
        if len(set(stages)) != len(stages):
            raise ValueError("the segments of one stage must follow one another")
        for segment in self.segments:
            for tensor in (*segment.inputs, *segment.outputs):
                unknown = [d for d in tensor.dims if isinstance(d, str) and d not in self.free_dims]
                if unknown:
                    raise ValueError(f"{segment.name}: '{unknown[0]}' is not in free_dims")
        for stage in self.stages:
            self._require_runnable(stage)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the segments."""
        return tuple(segment.name for segment in self.segments)

    def segment(self, name: str) -> Segment:
        """Return the segment of this name."""
        return next(segment for segment in self.segments if segment.name == name)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages, with the tensors that pass between them."""
        grouped = self._grouped()
        stages = []
        for index, (name, segments) in enumerate(grouped):
            before = {t.name for _, own in grouped[:index] for s in own for t in s.outputs}
            after = {t.name for _, own in grouped[index + 1 :] for s in own for t in s.inputs}
            read: dict[str, None] = {}
            made: dict[str, None] = {}
            for segment in segments:
                read |= dict.fromkeys(t.name for t in segment.inputs if t.name not in made)
                made |= dict.fromkeys(t.name for t in segment.outputs)
            carried = tuple(tensor for tensor in read if tensor in before)
            results = tuple(tensor for tensor in made if tensor in {*after, *self.results})
            stages.append(Stage(name, segments, carried, results))
        return tuple(stages)

    def complete(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the sizes, with free dimensions added that follow from `FreeDim.multiple_of`."""
        full = dict(sizes)
        for name, dim in self.free_dims.items():
            if dim.multiple_of and name in full:
                full.setdefault(dim.multiple_of, full[name] // dim.factor)
            elif dim.multiple_of in full:
                full[name] = full[dim.multiple_of] * dim.factor
        return full

    def _require_runnable(self, stage: Stage) -> None:
        lists = {t.name for s in stage.segments if s.lists_outputs for t in s.outputs}
        leaving = [name for name in stage.results if name in lists]
        if leaving:
            raise ValueError(
                f"'{leaving[0]}' is a list, as its segment is repeated: it cannot leave stage "
                f"'{stage.name}'"
            )
        if stage.per_prompt:
            later = {t.name for s in self.segments if s.per != "prompt" for t in s.outputs}
            read = [name for name in stage.carried if name in later]
            if read:
                raise ValueError(
                    f"prompt stage '{stage.name}' reads '{read[0]}', which depends on the "
                    "observation"
                )

    def _grouped(self) -> list[tuple[str, tuple[Segment, ...]]]:
        groups: list[tuple[str, list[Segment]]] = []
        for segment in self.segments:
            if not groups or groups[-1][0] != segment.stage:
                groups.append((segment.stage, []))
            groups[-1][1].append(segment)
        return [(name, tuple(segments)) for name, segments in groups]


@dataclass(frozen=True)
class Binding:
    """One observation bound to a program; a tensor of repetition i may be named "NAME#i".

    Attributes:
        constants: tensors on the program's device; the same objects while the values are the same.
        observed: tensors on the host.
        counts: `Segment.repeat` -> number of runs.
        structure: value that, together with the shapes, determines which operations run.
        prompt: key of the prompt, for the cache of prompt stages.

    """

    constants: Mapping[str, "Tensor"]
    observed: Mapping[str, "Tensor"]
    counts: Mapping[str, int] = field(default_factory=dict)
    structure: Hashable = ()
    prompt: Hashable = ()

    def count(self, segment: Segment) -> int:
        """Return how often a segment runs."""
        return self.counts[segment.repeat] if segment.repeat else 1


def select_tensors(tensors: Mapping[str, "Tensor"], names: frozenset[str]) -> dict[str, "Tensor"]:
    """Return the tensors with these names, repetitions ("NAME#i") included."""
    return {name: t for name, t in tensors.items() if name.partition("#")[0] in names}


class Program(Protocol):
    """Network with the weights that were loaded, on one device.

    Attributes:
        spec: segments and their tensors.
        device: device that the segments run on.
        dtype: element type of the weights.
        modules: loaded segments by name; the others are executed from exported files.
        nbytes: memory held on the device, in bytes.

    """

    spec: ProgramSpec
    device: "torch.device"
    dtype: "torch.dtype"

    @property
    def modules(self) -> Mapping[str, "nn.Module"]:
        """Return the loaded segments by name."""

    @property
    def nbytes(self) -> int:
        """Return the memory held on the device, in bytes."""

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """Prepare the tensors of one observation on the host.

        Args:
            inputs: model inputs from the family's processor.
            steps: number of denoising steps.

        """

    def arguments(self, segment: str, index: int, tensors: Tensors) -> Sequence["Tensor"]:
        """Return the inputs of repetition `index` of a segment, in order.

        It runs on the device between segments and is recorded with them, so it must launch the
        same operations for the same shapes and `Binding.structure`.
        """

    def pack(self) -> None:
        """Reorder the weights for the CPU's kernels if possible."""


class ReferenceModel(Protocol):
    """Reference implementation of a network: slow, and the basis of all comparisons."""

    @property
    def device(self) -> "torch.device":
        """Return the device of the weights."""

    @property
    def nbytes(self) -> int:
        """Return the memory held on the device, in bytes."""

    def run(
        self, inputs: ModelInputs, steps: int, mark: Callable[[str], None]
    ) -> Mapping[str, "Tensor"]:
        """Return the results of the program; call `mark(stage)` at the end of each stage."""


class ProgramSource(Protocol):
    """Loader of a program and of the reference model that it is compared with.

    Attributes:
        program: segments of the staged model.

    """

    @property
    def program(self) -> ProgramSpec:
        """Return the segments of the staged model."""

    def load_program(
        self,
        *,
        device: "torch.device",
        dtype: "torch.dtype",
        segments: Collection[str] | None = None,
        step_counts: Collection[int] = (),
        progress: Progress | None = None,
    ) -> Program:
        """Read the weights of the staged model.

        Args:
            device: device that the segments run on.
            dtype: element type of the weights.
            segments: names of the segments to load, all if None; other weights are not read.
            step_counts: numbers of denoising steps to prepare for; others are prepared when they
                are first used.
            progress: see `Progress`.

        Raises:
            CheckpointError: tensors are missing, unexpected, misshapen or not finite.

        """

    def load_reference(
        self, *, device: "torch.device", dtype: "torch.dtype", progress: Progress | None = None
    ) -> ReferenceModel:
        """Read the weights of the reference model; raises the errors of `load_program`."""
