"""Observations with fixed noise and the plain form's answers, stored beside an engine.

An engine is proven when it gives these answers; a policy asks for that at every start.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from groot_ros.processing import ModelInputs
from groot_ros.runtime.engine import Engine, PrefixInput
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.manifest import Manifest, is_readable
from groot_ros.runtime.tolerances import tolerance_for

ORACLE = "oracle.safetensors"
#: Normalised actions [H, A] and the state of the same case, in the checkpoint's units, to group ->
#: [horizon, D].
Decode = Callable[[NDArray[np.float32], Mapping[str, NDArray[np.float64]]], dict[str, NDArray]]


@dataclass(frozen=True)
class Case:
    """One observation and what the plain form makes of it.

    Attributes:
        inputs: a batch of one.
        noise: float32 [1, H, A].
        prefix: committed motion, or None.
        state: group -> [T, D] in the checkpoint's units, for relative actions.
        actions: number of denoising steps -> normalised actions, float32 [1, H, A].

    """

    inputs: ModelInputs
    noise: NDArray[np.float32]
    prefix: PrefixInput | None
    state: Mapping[str, NDArray[np.float64]]
    actions: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True)
class ValidationResult:
    """How far an engine is from the stored answers.

    Attributes:
        error: largest difference, normalised units; NaN where a value is not finite.
        tolerance: that it must not exceed.
        case: in which the largest occurred.
        groups: group -> largest difference a column, in the robot's units (rad, m) if it is known.
        seconds: shortest time of one inference, as the first of each length takes longer.

    """

    error: float
    tolerance: float
    case: int
    groups: Mapping[str, NDArray[np.float64]]
    seconds: float

    @property
    def proven(self) -> bool:
        """Within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        return (
            f"max abs error {self.error:.2g} in normalised units "
            f"(tolerance {self.tolerance:.2g}, worst in stored observation {self.case})"
        )


@dataclass(frozen=True)
class ReferenceOutputs:
    """Stored cases."""

    cases: tuple[Case, ...]
    source: str

    def save(self, directory: Path) -> str:
        """Write the file; returns its sha256."""
        arrays: dict[str, NDArray] = {}
        for number, case in enumerate(self.cases):
            for name, array in _flat(case).items():
                arrays[f"{number}.{name}"] = np.ascontiguousarray(array)
        text = json.dumps({"source": self.source, "cases": len(self.cases)})
        data = save(arrays, metadata={"groot_ros": text})
        (directory / ORACLE).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, directory: Path, manifest: Manifest) -> "ReferenceOutputs":
        """Read the file.

        Raises:
            EngineFilesError: it is not the one of the manifest, or not what `save` writes, or has
                no finite answers for a number of steps that the manifest names.

        """
        path, sha256 = directory / ORACLE, manifest.oracle_sha256
        again = f"rebuild with: {manifest.export_command(directory)}"
        if not is_readable(path):
            raise EngineFilesError(f"{path}: no such file; {again}")
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise EngineFilesError(
                f"{path}: 'oracle_sha256' is {sha256[:12]} in the manifest, the file's is "
                f"{found[:12]}; {again}"
            )
        try:
            oracle = _parsed(data)
            oracle._require_answers(manifest.steps)
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineFilesError(
                f"{path}: is not a file of stored answers ({' '.join(str(error).split())}); {again}"
            ) from error
        return oracle

    def _require_answers(self, steps: Collection[int]) -> None:
        for number, case in enumerate(self.cases):
            for n in steps:
                if n not in case.actions:
                    raise ValueError(f"observation {number} has none for {n} denoising steps")
                if case.actions[n].shape != case.noise.shape:
                    raise ValueError(f"observation {number} has another shape than its noise")
                if not np.isfinite(case.actions[n]).all():
                    raise ValueError(f"those of observation {number} are not finite")

    def prove(
        self,
        engine: Engine,
        steps: int,
        tolerance: float,
        used: tuple[int, int],
        decode: Decode | None = None,
    ) -> ValidationResult:
        """Run every case through an engine.

        Args:
            engine: to be proven.
            steps: denoising steps; one of those stored.
            tolerance: see `Manifest`.
            used: (steps, columns) of the chunk that are decoded; padding is not compared.
            decode: to group -> [horizon, D] in the robot's units.

        """
        errors, seconds = [], []
        groups: dict[str, NDArray[np.float64]] = {}
        engine.prepare(self.cases[0].inputs, steps)
        for case in self.cases:
            result = engine.run(case.inputs, case.noise, steps, case.prefix)
            seconds.append(result.backbone_seconds + result.head_seconds)
            expected = case.actions[steps]
            difference = np.abs(result.actions - expected)[:, : used[0], : used[1]]
            errors.append(float(difference.max()))
            if decode is not None and np.isfinite(difference).all():
                pair = (decode(a[0], case.state) for a in (result.actions, expected))
                for name, worst in _worst(*pair).items():
                    groups[name] = np.maximum(groups.get(name, 0.0), worst)
        # argmax takes the first NaN, which is what is wanted.
        worst_case = int(np.argmax(errors))
        return ValidationResult(errors[worst_case], tolerance, worst_case, groups, min(seconds))


def _worst(
    one: Mapping[str, NDArray], other: Mapping[str, NDArray]
) -> dict[str, NDArray[np.float64]]:
    return {name: np.abs(one[name] - other[name]).max(axis=0) for name in one}


def _parsed(data: bytes) -> ReferenceOutputs:
    """What `ReferenceOutputs.save` wrote; raises whatever it comes upon."""
    length = int.from_bytes(data[:8], "little")
    text = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["groot_ros"])
    cases: dict[int, dict[str, NDArray]] = {}
    for name, array in load(data).items():
        number, _, rest = name.partition(".")
        cases.setdefault(int(number), {})[rest] = array
    if not cases or text["cases"] != len(cases):
        raise ValueError(f"it says {text['cases']} observations and has {len(cases)}")
    return ReferenceOutputs(
        tuple(_case(cases[number]) for number in range(len(cases))), str(text["source"])
    )


def _flat(case: Case) -> dict[str, NDArray]:
    inputs = case.inputs
    flat: dict[str, NDArray] = {
        "input_ids": inputs.input_ids,
        "attention_mask": inputs.attention_mask,
        "state": inputs.state,
        "embodiment_id": inputs.embodiment_id,
        "noise": case.noise,
        **{f"image.{i}": image for i, image in enumerate(inputs.images)},
        **{f"group.{name}": values for name, values in case.state.items()},
        **{f"actions.{steps}": actions for steps, actions in case.actions.items()},
    }
    if case.prefix is not None:
        flat |= {f"prefix.{f.name}": getattr(case.prefix, f.name) for f in fields(PrefixInput)}
    return flat


def _case(flat: Mapping[str, NDArray]) -> Case:
    def below(prefix: str) -> dict[str, NDArray]:
        return {k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)}

    images = below("image.")
    prefix = below("prefix.")
    return Case(
        inputs=ModelInputs(
            input_ids=flat["input_ids"],
            attention_mask=flat["attention_mask"],
            images=[images[str(i)] for i in range(len(images))],
            state=flat["state"],
            embodiment_id=flat["embodiment_id"],
        ),
        noise=flat["noise"],
        prefix=PrefixInput(**prefix) if prefix else None,
        state=below("group."),
        actions={int(steps): actions for steps, actions in below("actions.").items()},
    )


def tolerance_of(manifest: Manifest, engine: str, dtype: torch.dtype) -> float:
    """What an engine may err: the manifest's own for its files, else by the weights' precision."""
    if engine in ("onnxruntime", "tensorrt"):
        return manifest.tolerance
    precision = str(dtype).removeprefix("torch.")
    rounding = manifest.rounding if precision == manifest.precision else 0.0
    return tolerance_for(precision, rounding)
