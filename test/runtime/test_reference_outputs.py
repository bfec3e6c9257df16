"""Stored observations and answers."""

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

from groot_ros.processing import ModelInputs
from groot_ros.runtime.engine import EngineResult, PrefixInput
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.reference_outputs import ORACLE, Case, ReferenceOutputs

SHAPE = (1, 4, 3)


def case(seed: int, continued: bool) -> Case:
    rng = np.random.default_rng(seed)

    def drawn() -> NDArray[np.float32]:
        return rng.normal(size=SHAPE).astype(np.float32)

    ids = rng.integers(0, 9, (1, 5 + seed))
    return Case(
        ModelInputs(
            ids,
            np.ones_like(ids),
            [rng.integers(0, 256, (3, 4, 4 + i), dtype=np.uint8) for i in range(2)],
            drawn()[:, :1],
            np.array([0]),
        ),
        drawn(),
        PrefixInput(drawn(), drawn(), drawn(), drawn(), drawn()[..., 0]) if continued else None,
        {"arm": rng.normal(size=(1, 2))},
        {4: drawn(), 2: drawn()},
    )


def oracle() -> ReferenceOutputs:
    return ReferenceOutputs((case(0, False), case(1, True)), "drawn here")


class Echo:
    """Gives the stored answers plus an offset at chosen places."""

    name, device, memory_bytes = "echo", "cpu", 0

    def __init__(
        self, stored: ReferenceOutputs, offsets: Mapping[tuple[int, int, int], float]
    ) -> None:
        self._stored, self._offsets = stored, offsets
        self.prepared: list[tuple[ModelInputs, int | None]] = []

    def prepare(self, inputs: ModelInputs, steps: int | None = None) -> None:
        self.prepared.append((inputs, steps))

    def run(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.float32],
        steps: int,
        prefix: PrefixInput | None = None,
    ) -> EngineResult:
        (number,) = (i for i, c in enumerate(self._stored.cases) if c.noise is noise)
        assert prefix is self._stored.cases[number].prefix
        actions = self._stored.cases[number].actions[steps].copy()
        for (which, step, column), offset in self._offsets.items():
            if which == number:
                actions[0, step, column] += offset
        return EngineResult(actions, 0.25, 0.5)

    def close(self) -> None:
        """Nothing to give back."""


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    written = oracle()
    read = ReferenceOutputs.load(tmp_path, manifest(tmp_path, oracle_sha256=written.save(tmp_path)))
    assert read.source == "drawn here"
    for one, other in zip(written.cases, read.cases, strict=True):
        np.testing.assert_array_equal(one.inputs.input_ids, other.inputs.input_ids)
        for a, b in zip(one.inputs.images, other.inputs.images, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one.noise, other.noise)
        np.testing.assert_array_equal(one.state["arm"], other.state["arm"])
        assert one.actions.keys() == other.actions.keys()
        np.testing.assert_array_equal(one.actions[2], other.actions[2])
        assert (one.prefix is None) == (other.prefix is None)
    assert read.cases[1].prefix is not None
    assert written.cases[1].prefix is not None
    np.testing.assert_array_equal(read.cases[1].prefix.clean, written.cases[1].prefix.clean)


def test_the_largest_error_counts_wherever_it_is_and_padding_does_not() -> None:
    stored = oracle()
    offsets = {(0, 0, 0): 0.01, (1, 2, 1): -0.03, (1, 3, 0): 9.0, (0, 0, 2): 9.0}
    verdict = stored.prove(Echo(stored, offsets), 4, 0.05, (3, 2))
    assert verdict.error == pytest.approx(0.03, rel=1e-4)
    assert verdict.case == 1
    assert verdict.proven
    assert verdict.seconds == 0.75
    assert not stored.prove(Echo(stored, offsets), 4, 0.02, (3, 2)).proven
    assert not stored.prove(Echo(stored, offsets), 4, 0.05, (4, 2)).proven


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_never_proven(value: float) -> None:
    stored = oracle()
    verdict = stored.prove(Echo(stored, {(0, 1, 1): value}), 4, 1e9, (4, 3))
    assert not verdict.proven
    assert verdict.case == 0


def test_errors_are_told_in_the_robot_s_units_too() -> None:
    stored = oracle()

    def decode(
        actions: NDArray[np.float32], state: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray]:
        return {"arm": 10.0 * actions[:, :2] + state["arm"]}

    verdict = stored.prove(Echo(stored, {(0, 0, 0): 0.01, (1, 1, 0): 0.02}), 2, 1.0, (4, 3), decode)
    np.testing.assert_allclose(verdict.groups["arm"], [0.2, 0.0], atol=1e-5)


def test_the_engine_is_prepared_for_the_steps_that_it_will_run() -> None:
    """Another number would make tables that nobody uses, from weights read a second time."""
    stored = oracle()
    echo = Echo(stored, {})
    stored.prove(echo, 2, 1.0, (4, 3))
    ((inputs, steps),) = echo.prepared
    assert inputs is stored.cases[0].inputs
    assert steps == 2


def test_another_file_than_the_manifest_s_is_rejected_and_so_is_none(tmp_path: Path) -> None:
    expected = manifest(tmp_path, oracle_sha256="0" * 64)
    for problem in ("no such file", "'oracle_sha256' is 000000000000 in the manifest"):
        with pytest.raises(EngineFilesError, match=problem) as caught:
            ReferenceOutputs.load(tmp_path, expected)
        assert parsed_hint(str(caught.value)).engine_directory == tmp_path
        oracle().save(tmp_path)


def stored_bytes(cases: object, **arrays: NDArray) -> bytes:
    text = json.dumps({"source": "drawn", "cases": cases})
    return save(arrays, metadata={"groot_ros": text})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"),
        (b"garbage" * 20, "is not a file of stored answers"),
        (stored_bytes(0), "it says 0 observations and has 0"),
        (stored_bytes(10**12, **{"0.noise": np.zeros(1)}), "it says 1000000000000 observations"),
        (stored_bytes(1, **{"0.noise": np.zeros(1)}), "'input_ids'"),
        (stored_bytes(1, **{"7.noise": np.zeros(1)}), "is not a file of stored answers"),
        (stored_bytes(1, noise=np.zeros(1)), "invalid literal"),
        (save({"0.noise": np.zeros(1)}), "'__metadata__'"),
    ],
    ids=["empty", "garbage", "none", "too many", "keys", "number", "no number", "metadata"],
)
def test_a_file_that_is_no_oracle_is_named_even_if_the_manifest_says_it_is(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    (tmp_path / ORACLE).write_bytes(data)
    own = manifest(tmp_path, oracle_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(EngineFilesError) as caught:
        ReferenceOutputs.load(tmp_path, own)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / ORACLE}: is not a file of stored answers")
    assert problem in text
    assert parsed_hint(text).action == "export"


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        ({4: np.zeros(SHAPE)}, "observation 1 has none for 2 denoising steps"),
        ({4: np.zeros(SHAPE), 2: np.full(SHAPE, np.nan)}, "those of observation 1 are not finite"),
        ({4: np.zeros(SHAPE), 2: np.zeros((1, 2, 3))}, "observation 1 has another shape"),
    ],
    ids=["steps", "nan", "shape"],
)
def test_answers_that_no_engine_could_give_are_rejected(
    tmp_path: Path, actions: dict[int, NDArray], problem: str
) -> None:
    first, second = oracle().cases
    spoilt = ReferenceOutputs((first, replace(second, actions=actions)), "drawn")
    with pytest.raises(EngineFilesError, match=problem):
        ReferenceOutputs.load(tmp_path, manifest(tmp_path, oracle_sha256=spoilt.save(tmp_path)))


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = manifest(tmp_path, oracle_sha256=oracle().save(tmp_path))
    make_unreadable(monkeypatch, tmp_path / ORACLE)
    with pytest.raises(EngineFilesError, match=r"oracle.safetensors: cannot be read: Permission"):
        ReferenceOutputs.load(tmp_path, own)
