# SPDX-License-Identifier: Apache-2.0
"""Reference outputs: stored observations and the outputs of the reference model for them.

An engine is validated if it reproduces these outputs within a tolerance. A policy with an engine
directory validates its engine at every start.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from groot_ros.core.program import ModelInputs
from groot_ros.runtime import tolerance_for
from groot_ros.runtime.device import dtype_name
from groot_ros.runtime.engine import Engine, EngineFilesError, one_line
from groot_ros.runtime.manifest import OLD_FORMAT, Manifest, is_readable

REFERENCE_OUTPUTS = "reference_outputs.safetensors"
_OLD_REFERENCE_OUTPUTS = "oracle.safetensors"
#: Prefixes of names in files of the first version -> present prefixes.
_OLD_NAMES = {"prefix.": "input.", "group.": "state."}
_OLD_INPUTS = ("input_ids", "attention_mask", "state", "embodiment_id", "noise", "image.")

Outputs = Mapping[str, NDArray[Any]]
#: Selects the compared values from a program's results; see `families.family.Processor.used`.
Used = Callable[[Outputs], NDArray[Any]]
#: Decodes a program's results, with the state of the same case, to group -> [horizon, D] in rad
#: and m.
Decode = Callable[[Outputs, Mapping[str, NDArray[np.float64]]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Case:
    """One observation and the outputs of the reference model for it.

    Attributes:
        inputs: inputs of the program, including random ones and committed motion.
        state: group -> [T, D] in the checkpoint's units, to decode relative actions.
        outputs: number of denoising steps -> results of the program by name.

    """

    inputs: ModelInputs
    state: Mapping[str, NDArray[np.float64]]
    outputs: Mapping[int, Outputs]


@dataclass(frozen=True)
class ValidationResult:
    """Difference of an engine from the reference outputs.

    Attributes:
        error: largest difference, normalised units; NaN if a value is not finite.
        tolerance: largest permitted error, normalised units.
        case: index of the case with the largest error.
        groups: group -> largest difference per column [D], in rad and m, or in the checkpoint's
            units without a robot contract.
        seconds: shortest time of one inference; the first run with each input shape takes longer.

    """

    error: float
    tolerance: float
    case: int
    groups: Mapping[str, NDArray[np.float64]]
    seconds: float

    @property
    def validated(self) -> bool:
        """Return whether the error is within the tolerance; False for NaN."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        return (
            f"max abs error {self.error:.2g} in normalised units "
            f"(tolerance {self.tolerance:.2g}, worst in stored observation {self.case})"
        )


class UnvalidatedEngineError(ValueError):
    """An engine does not reproduce the reference outputs; `result` has the error."""

    def __init__(self, name: str, result: ValidationResult) -> None:
        super().__init__(
            f"engine '{name}' does not reproduce the reference outputs: {result}; rebuild its "
            "files, use another engine, or set allow_unvalidated_engine"
        )
        self.result = result


@dataclass(frozen=True)
class ReferenceOutputs:
    """Stored cases, and a description of the observations' source."""

    cases: tuple[Case, ...]
    source: str

    def save(self, directory: Path) -> str:
        """Write DIRECTORY/reference_outputs.safetensors; return its sha256 (hexadecimal)."""
        arrays: dict[str, NDArray[Any]] = {}
        for number, case in enumerate(self.cases):
            for name, array in _flat(case).items():
                arrays[f"{number}.{name}"] = np.ascontiguousarray(array)
        text = json.dumps({"source": self.source, "cases": len(self.cases)})
        data = save(arrays, metadata={"groot_ros": text})
        (directory / REFERENCE_OUTPUTS).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, directory: Path, manifest: Manifest) -> "ReferenceOutputs":
        """Read the file that `save` wrote.

        Raises:
            EngineFilesError: the file is missing, its sha256 is not that of the manifest, it cannot
                be parsed, or it lacks finite outputs for one of the manifest's `steps`.

        """
        old = manifest.format == OLD_FORMAT
        path = directory / (_OLD_REFERENCE_OUTPUTS if old else REFERENCE_OUTPUTS)
        fix = f"rebuild with: {manifest.export_command(directory)}"
        if not is_readable(path):
            raise EngineFilesError(f"{path}: no such file; {fix}")
        data = path.read_bytes()
        found, sha256 = hashlib.sha256(data).hexdigest(), manifest.reference_sha256
        if found != sha256:
            raise EngineFilesError(
                f"{path}: 'reference_sha256' is {sha256[:12]} in the manifest, the file's is "
                f"{found[:12]}; {fix}"
            )
        try:
            stored = _parsed(data, old)
            stored._require_outputs(manifest.steps)
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineFilesError(
                f"{path}: is not a file of reference outputs ({one_line(error)}); {fix}"
            ) from error
        return stored

    def _require_outputs(self, steps: Collection[int]) -> None:
        for number, case in enumerate(self.cases):
            shapes: dict[str, tuple[int, ...]] = {}
            for n in steps:
                if n not in case.outputs:
                    raise ValueError(f"observation {number} has no outputs for {n} denoising steps")
                for name, array in case.outputs[n].items():
                    if shapes.setdefault(name, array.shape) != array.shape:
                        raise ValueError(
                            f"'{name}' of observation {number} has another shape for {n} denoising "
                            "steps"
                        )
                    if not np.isfinite(array).all():
                        raise ValueError(f"outputs of observation {number} are not finite")

    def validate(
        self,
        engine: Engine,
        steps: int,
        tolerance: float,
        used: Used,
        decode: Decode | None = None,
    ) -> ValidationResult:
        """Run every case with an engine and compare its outputs with the stored ones.

        Args:
            engine: engine to validate.
            steps: denoising steps; one of the stored numbers.
            tolerance: largest permitted error, normalised units.
            used: selects the values to compare, without padding.
            decode: converts outputs to group -> [horizon, D] in the robot's units; None to compare
                normalised values only.

        Raises:
            EngineFilesError: a case lacks a tensor, or has one of another shape.

        """
        errors, seconds = [], []
        groups: dict[str, NDArray[np.float64]] = {}
        with _tensors_of(0):
            engine.prepare(self.cases[0].inputs, steps)
        for number, case in enumerate(self.cases):
            expected = case.outputs[steps]
            with _tensors_of(number):
                result = engine.run(case.inputs, steps)
                given, reference = used(result.outputs), used(expected)
            seconds.append(sum(result.seconds.values()))
            if given.shape != reference.shape:
                raise EngineFilesError(
                    f"stored observation {number} has outputs of shape {list(reference.shape)}, "
                    f"the checkpoint's are {list(given.shape)}"
                )
            difference = np.abs(given.astype(np.float64) - reference)
            errors.append(float(difference.max()))
            if decode is not None and np.isfinite(difference).all():
                pair = (decode(outputs, case.state) for outputs in (result.outputs, expected))
                for name, worst in _worst(*pair).items():
                    groups[name] = np.maximum(groups.get(name, 0.0), worst)
        # If there is a NaN, argmax returns the first one.
        worst_case = int(np.argmax(errors))
        return ValidationResult(errors[worst_case], tolerance, worst_case, groups, min(seconds))


def tolerance_of(manifest: Manifest, needs_files: bool, dtype: torch.dtype) -> float:
    """Return the largest permitted error of an engine, normalised units.

    Args:
        manifest: manifest of the engine directory.
        needs_files: whether the engine needs an engine directory; the manifest's tolerance then
            applies.
        dtype: element type of the weights, for engines that need no files.

    """
    if needs_files:
        return manifest.tolerance
    precision = dtype_name(dtype)
    rounding = manifest.rounding if precision == manifest.precision else 0.0
    return tolerance_for(precision, rounding)


@contextmanager
def _tensors_of(number: int) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise EngineFilesError(
            f"stored observation {number} lacks {error}, which the checkpoint needs"
        ) from error


def _worst(
    one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    return {name: np.abs(one[name] - other[name]).max(axis=0) for name in one}


def _parsed(data: bytes, old: bool) -> ReferenceOutputs:
    """Parse a file of `ReferenceOutputs.save`; raises the exceptions of the parsers it uses."""
    length = int.from_bytes(data[:8], "little")
    text = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["groot_ros"])
    cases: dict[int, dict[str, NDArray[Any]]] = {}
    for name, array in load(data).items():
        number, _, rest = name.partition(".")
        cases.setdefault(int(number), {})[_renamed(rest) if old else rest] = array
    if not cases or text["cases"] != len(cases):
        raise ValueError(f"its metadata states {text['cases']} observations, it has {len(cases)}")
    return ReferenceOutputs(
        tuple(_case(cases[number]) for number in range(len(cases))), str(text["source"])
    )


def _renamed(name: str) -> str:
    """Translate an array's name from the first version of the format."""
    if name.startswith(_OLD_INPUTS):
        return f"input.{name}"
    if name.startswith("actions."):
        return f"output.{name.removeprefix('actions.')}.next_actions"
    for old, new in _OLD_NAMES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _flat(case: Case) -> dict[str, NDArray[Any]]:
    return {
        **{f"input.{name}": array for name, array in case.inputs.items()},
        **{f"state.{name}": values for name, values in case.state.items()},
        **{
            f"output.{steps}.{name}": array
            for steps, outputs in case.outputs.items()
            for name, array in outputs.items()
        },
    }


def _case(flat: Mapping[str, NDArray[Any]]) -> Case:
    def below(prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)}

    outputs: dict[int, dict[str, NDArray[Any]]] = {}
    for name, array in below("output.").items():
        steps, _, tensor = name.partition(".")
        outputs.setdefault(int(steps), {})[tensor] = array
    inputs = below("input.")
    if not inputs:
        raise ValueError("an observation has no inputs")
    return Case(inputs, below("state."), outputs)
