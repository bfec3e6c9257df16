# SPDX-License-Identifier: Apache-2.0
"""Stored observations and outputs of the reference model, and engines compared with them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save
from support.manifests import make_unreadable, manifest, parsed_hint
from support.version_0_1 import CONDITIONING, old_reference_outputs

from groot_ros.core.program import ModelInputs
from groot_ros.runtime.engine import EngineFilesError, EngineResult
from groot_ros.runtime.reference_outputs import (
    REFERENCE_OUTPUTS,
    Case,
    Outputs,
    ReferenceOutputs,
    Used,
)

SHAPE = (1, 4, 3)


def case(seed: int, conditioned: bool) -> Case:
    rng = np.random.default_rng(seed)

    def drawn() -> NDArray[np.float32]:
        return rng.normal(size=SHAPE).astype(np.float32)

    ids = rng.integers(0, 9, (1, 5 + seed))
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        **{f"image.{i}": rng.integers(0, 256, (3, 4, 4 + i), dtype=np.uint8) for i in range(2)},
        "state": drawn()[:, :1],
        "embodiment_id": np.array([0]),
        "noise": drawn(),
    }
    if conditioned:
        inputs |= {name: drawn() for name in CONDITIONING}
        inputs["clean"] = inputs["clean"][..., 0]
    outputs = {n: {"next_actions": drawn()} for n in (4, 2)}
    return Case(inputs, {"arm": rng.normal(size=(1, 2))}, outputs)


def reference() -> ReferenceOutputs:
    return ReferenceOutputs((case(0, False), case(1, True)), "drawn here")


def first(steps: int, columns: int) -> Used:
    """Return a function that selects the leading steps and columns of the actions."""
    return lambda outputs: outputs["next_actions"][0, :steps, :columns]


class Echo:
    """Engine that returns the stored outputs plus an offset at chosen places.

    Args:
        stored: must be run with the inputs of one of its cases.
        offsets: (case, step, column) -> offset of its action.

    """

    name, device, memory_bytes = "echo", "cpu", 0

    def __init__(
        self, stored: ReferenceOutputs, offsets: Mapping[tuple[int, int, int], float]
    ) -> None:
        self._stored, self._offsets = stored, offsets
        self.prepared: list[tuple[ModelInputs, int]] = []

    def prepare(self, inputs: ModelInputs, steps: int) -> None:
        self.prepared.append((inputs, steps))

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        (number,) = (i for i, c in enumerate(self._stored.cases) if c.inputs is inputs)
        actions = self._stored.cases[number].outputs[steps]["next_actions"].copy()
        for (which, step, column), offset in self._offsets.items():
            if which == number:
                actions[0, step, column] += offset
        return EngineResult({"next_actions": actions}, {"backbone": 0.25, "head": 0.5})

    def close(self) -> None:
        """Release nothing."""


def require_same(given: ReferenceOutputs, expected: ReferenceOutputs) -> None:
    assert given.source == expected.source
    for a, b in zip(given.cases, expected.cases, strict=True):
        pairs = [(a.inputs, b.inputs), (a.state, b.state)]
        assert a.outputs.keys() == b.outputs.keys()
        pairs += [(a.outputs[n], b.outputs[n]) for n in b.outputs]
        for mine, theirs in pairs:
            assert mine.keys() == theirs.keys()
            for name in theirs:
                assert mine[name].dtype == theirs[name].dtype
                np.testing.assert_array_equal(mine[name], theirs[name])


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    written = reference()
    own = manifest(tmp_path, reference_sha256=written.save(tmp_path))
    require_same(ReferenceOutputs.load(tmp_path, own), written)


def test_the_largest_error_counts_wherever_it_is_and_padding_does_not() -> None:
    stored = reference()
    offsets = {(0, 0, 0): 0.01, (1, 2, 1): -0.03, (1, 3, 0): 9.0, (0, 0, 2): 9.0}
    result = stored.validate(Echo(stored, offsets), 4, 0.05, first(3, 2))
    assert result.error == pytest.approx(0.03, rel=1e-4)
    assert result.case == 1
    assert result.validated
    assert result.seconds == 0.75
    assert not stored.validate(Echo(stored, offsets), 4, 0.02, first(3, 2)).validated
    assert not stored.validate(Echo(stored, offsets), 4, 0.05, first(4, 2)).validated


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_not_finite_never_validates(value: float) -> None:
    stored = reference()
    result = stored.validate(Echo(stored, {(0, 1, 1): value}), 4, 1e9, first(4, 3))
    assert not result.validated
    assert result.case == 0


def test_errors_are_reported_in_the_robot_s_units_too() -> None:
    stored = reference()

    def decode(
        outputs: Outputs, state: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        return {"arm": 10.0 * outputs["next_actions"][0, :, :2] + state["arm"]}

    engine = Echo(stored, {(0, 0, 0): 0.01, (1, 1, 0): 0.02})
    result = stored.validate(engine, 2, 1.0, first(4, 3), decode)
    np.testing.assert_allclose(result.groups["arm"], [0.2, 0.0], atol=1e-5)


def test_the_engine_is_prepared_for_the_steps_that_it_will_run() -> None:
    """Another number would make tables that nothing uses, from weights read a second time."""
    stored = reference()
    echo = Echo(stored, {})
    stored.validate(echo, 2, 1.0, first(4, 3))
    ((inputs, steps),) = echo.prepared
    assert inputs is stored.cases[0].inputs
    assert steps == 2


class Short(Echo):
    """Returns chunks of other length than the stored ones."""

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        return EngineResult({"next_actions": np.zeros((1, 2, 3), np.float32)}, {"head": 0.5})


class Demanding(Echo):
    """Needs an input that is not stored."""

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        return super().run(inputs, len(inputs["tactile"]))


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Short, r"^stored observation 0 has outputs of shape \[4, 3\], the checkpoint's are \[2"),
        (Demanding, "^stored observation 0 lacks 'tactile', which the checkpoint needs$"),
    ],
)
def test_cases_that_the_checkpoint_cannot_run_are_named(kind: type[Echo], problem: str) -> None:
    stored = reference()
    with pytest.raises(EngineFilesError, match=problem):
        stored.validate(kind(stored, {}), 4, 1.0, first(4, 3))


def test_another_file_than_the_manifest_s_is_rejected_and_so_is_none(tmp_path: Path) -> None:
    expected = manifest(tmp_path, reference_sha256="0" * 64)
    for problem in ("no such file", "'reference_sha256' is 000000000000 in the manifest"):
        with pytest.raises(EngineFilesError, match=problem) as caught:
            ReferenceOutputs.load(tmp_path, expected)
        assert parsed_hint(str(caught.value)).engine_directory == tmp_path
        reference().save(tmp_path)


def stored_bytes(cases: object, **arrays: NDArray) -> bytes:
    text = json.dumps({"source": "drawn", "cases": cases})
    return save(arrays, metadata={"groot_ros": text})


NOISE = {"0.input.noise": np.zeros(1)}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"),
        (b"garbage" * 20, "is not a file of reference outputs"),
        (stored_bytes(0), "its metadata states 0 observations, it has 0"),
        (stored_bytes(10**12, **NOISE), "its metadata states 1000000000000 observations"),
        (stored_bytes(1, **{"0.noise": np.zeros(1)}), "an observation has no inputs"),
        (stored_bytes(1, **NOISE), "observation 0 has no outputs for 4 denoising steps"),
        (stored_bytes(1, **{"0.output.x.y": np.zeros(1)}), "invalid literal"),
        (stored_bytes(1, **{"7.input.noise": np.zeros(1)}), "is not a file of reference outputs"),
        (stored_bytes(1, noise=np.zeros(1)), "invalid literal"),
        (save(NOISE), "'__metadata__'"),
    ],
    ids=[
        *("empty", "garbage", "none", "too many", "inputs", "outputs", "steps"),
        *("number", "no number", "metadata"),
    ],
)
def test_a_file_of_something_else_is_named_even_if_the_manifest_has_its_digest(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    (tmp_path / REFERENCE_OUTPUTS).write_bytes(data)
    own = manifest(tmp_path, reference_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(EngineFilesError) as caught:
        ReferenceOutputs.load(tmp_path, own)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / REFERENCE_OUTPUTS}: is not a file of reference outputs")
    assert problem in text
    assert parsed_hint(text).action == "export"


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        ({4: np.zeros(SHAPE)}, "observation 1 has no outputs for 2 denoising steps"),
        (
            {4: np.zeros(SHAPE), 2: np.full(SHAPE, np.nan)},
            "outputs of observation 1 are not finite",
        ),
        (
            {4: np.zeros(SHAPE), 2: np.zeros((1, 2, 3))},
            "'next_actions' of observation 1 has another shape for 2 denoising steps",
        ),
    ],
    ids=["steps", "nan", "shape"],
)
def test_outputs_that_no_engine_could_reproduce_are_rejected(
    tmp_path: Path, actions: dict[int, NDArray], problem: str
) -> None:
    one, other = reference().cases
    outputs = {steps: {"next_actions": array} for steps, array in actions.items()}
    spoilt = ReferenceOutputs((one, replace(other, outputs=outputs)), "drawn")
    with pytest.raises(EngineFilesError, match=problem):
        ReferenceOutputs.load(tmp_path, manifest(tmp_path, reference_sha256=spoilt.save(tmp_path)))


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = manifest(tmp_path, reference_sha256=reference().save(tmp_path))
    make_unreadable(monkeypatch, tmp_path / REFERENCE_OUTPUTS)
    with pytest.raises(
        EngineFilesError, match=r"reference_outputs.safetensors: cannot be read: Permission"
    ):
        ReferenceOutputs.load(tmp_path, own)


def test_the_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    expected, data = reference(), old_reference_outputs(reference())
    (tmp_path / "oracle.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    old = manifest(tmp_path, reference_sha256=digest, format=1)
    require_same(ReferenceOutputs.load(tmp_path, old), expected)
    with pytest.raises(EngineFilesError, match=r"reference_outputs.safetensors: no such file"):
        ReferenceOutputs.load(tmp_path, replace(old, format=2))
    (tmp_path / "oracle.safetensors").unlink()
    with pytest.raises(EngineFilesError, match=r"oracle.safetensors: no such file"):
        ReferenceOutputs.load(tmp_path, old)
