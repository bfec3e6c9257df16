"""Which engine is taken, with engines that only say how good they are."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groot_ros.core.config_reader import CheckpointError
from groot_ros.runtime.errors import (
    EngineFailedError,
    EngineFilesError,
    StepsNotStoredError,
    TensorRtError,
    UnvalidatedEngineError,
)
from groot_ros.runtime.reference_outputs import ValidationResult
from groot_ros.runtime.selection import choose_engine, order_of

NO_FILES = EngineFilesError("there are no files")
#: What engines were seen to fail with, each by a class of its own.
FAILURES = [
    NO_FILES,
    TensorRtError("denoise.plan: no execution context: often for lack of free memory"),
    ValueError("denoise.plan: built for 'tokens' from 1 to 64, this observation has 80"),
    RuntimeError("CUDA error: an illegal memory access\nwas encountered"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    StepsNotStoredError("'steps' is 4, here it is 8"),
    PermissionError(13, "Permission denied", "denoise.onnx"),
]


def kind(failure: BaseException) -> str:
    return type(failure).__name__


class Shop:
    """Makes engines whose error, or failure, is known beforehand; remembers which were closed."""

    def __init__(
        self,
        errors: Mapping[str, float | BaseException | None],
        broken: Mapping[str, BaseException] | None = None,
    ) -> None:
        self.errors, self.broken = errors, broken or {}
        self.closed: list[str] = []

    def make(self, name: str):
        if name in self.broken:
            raise self.broken[name]
        return SimpleNamespace(name=name, close=lambda: self.closed.append(name))

    def prove(self, engine) -> ValidationResult | None:
        error = self.errors[engine.name]
        if isinstance(error, BaseException):
            raise error
        return None if error is None else ValidationResult(error, 1e-4, 0, {}, 0.01)

    def choose(self, wanted: str, **more):
        more = {"obstacle": lambda name: "", **more}
        return choose_engine(wanted, self.make, self.prove, **more)


def test_what_is_asked_for_is_taken_when_proven() -> None:
    choice = Shop({"torch": 1e-6}).choose("torch")
    assert choice.engine.name == "torch"
    assert choice.notes == (
        "engine torch taken, proven: max abs error 1e-06 in normalised units (tolerance 0.0001, "
        "worst in stored observation 0), shortest run 10.0 ms",
    )


@pytest.mark.parametrize("error", [2e-4, np.nan, np.inf])
def test_what_is_asked_for_is_rejected_when_not_proven_and_gives_its_memory_back(
    error: float,
) -> None:
    shop = Shop({"tensorrt": error})
    with pytest.raises(UnvalidatedEngineError, match="allow_unvalidated_engine"):
        shop.choose("tensorrt")
    assert shop.closed == ["tensorrt"]


def test_the_brave_get_it_with_a_warning() -> None:
    choice = Shop({"tensorrt": 0.5}).choose("tensorrt", allow_unvalidated=True)
    assert choice.engine.name == "tensorrt"
    assert choice.notes[0].startswith("engine tensorrt runs UNPROVEN: max abs error 0.5")
    assert choice.warnings == choice.notes


def test_auto_goes_down_the_order_and_gives_a_reason_for_each() -> None:
    shop = Shop({"cuda_graph": 0.1, "torch": 1e-6}, broken={"onnxruntime": NO_FILES})
    order = ("tensorrt", "onnxruntime", "cuda_graph", "torch")
    reasons = {"tensorrt": "no CUDA driver"}
    choice = shop.choose("auto", order=order, obstacle=lambda name: reasons.get(name, ""))
    assert choice.engine.name == "torch"
    assert shop.closed == ["cuda_graph"]
    assert [note.split(":")[0] for note in choice.notes] == [
        "engine tensorrt not taken",
        "engine onnxruntime not taken",
        "engine cuda_graph not taken",
        "engine torch taken, proven",
    ]
    assert choice.notes[0].endswith("no CUDA driver")
    assert choice.notes[1].endswith("there are no files")
    assert choice.warnings == choice.notes[1:3]


def test_auto_never_takes_an_unproven_engine_even_for_the_brave() -> None:
    shop = Shop({"torch": 1.0, "onnxruntime": 1.0})
    with pytest.raises(
        EngineFilesError, match="no engine can run here: torch, onnxruntime: not proven: max abs"
    ):
        shop.choose("auto", order=("torch", "onnxruntime"), allow_unvalidated=True)
    assert shop.closed == ["torch", "onnxruntime"]


def test_without_stored_answers_the_first_that_runs_is_taken_and_that_is_said() -> None:
    shop = Shop({"torch": None}, {"tensorrt": NO_FILES})
    choice = shop.choose("auto", order=("tensorrt", "torch"))
    assert choice.verdict is None
    assert "no stored answers" in choice.notes[-1]


def test_measured_engines_go_first_by_their_time() -> None:
    assert order_of({}) == ("tensorrt", "cuda_graph", "torch", "onnxruntime")
    measured = order_of({"torch": 0.3, "onnxruntime": 0.1, "plain": 0.01})
    assert measured == ("onnxruntime", "torch", "tensorrt", "cuda_graph")


@pytest.mark.parametrize("failure", FAILURES, ids=kind)
def test_auto_closes_whatever_fails_in_its_proof_and_goes_on(failure: Exception) -> None:
    shop = Shop({"tensorrt": failure, "torch": 1e-6})
    choice = shop.choose("auto", order=("tensorrt", "torch"))
    assert choice.engine.name == "torch"
    assert shop.closed == ["tensorrt"]
    assert choice.notes[0] == f"engine tensorrt not taken: {' '.join(str(failure).split())}"


@pytest.mark.parametrize("failure", FAILURES, ids=kind)
def test_auto_goes_on_where_an_engine_cannot_even_be_made(failure: Exception) -> None:
    shop = Shop({"torch": 1e-6}, {"tensorrt": failure})
    choice = shop.choose("auto", order=("tensorrt", "torch"))
    assert choice.engine.name == "torch"
    assert len(choice.notes[0].splitlines()) == 1


@pytest.mark.parametrize("failure", [*FAILURES, KeyboardInterrupt()], ids=kind)
def test_what_was_asked_for_is_closed_whatever_fails_in_its_proof(failure: BaseException) -> None:
    shop = Shop({"tensorrt": failure})
    expected = EngineFailedError if isinstance(failure, RuntimeError | OSError) else type(failure)
    with pytest.raises(expected):
        shop.choose("tensorrt")
    assert shop.closed == ["tensorrt"]


@pytest.mark.parametrize("failure", FAILURES[3:5] + FAILURES[6:], ids=kind)
def test_what_broke_is_told_in_one_line_with_the_engine_s_name(failure: Exception) -> None:
    for shop in (Shop({"tensorrt": failure}), Shop({}, {"tensorrt": failure})):
        with pytest.raises(EngineFailedError) as caught:
            shop.choose("tensorrt")
        assert str(caught.value) == f"engine 'tensorrt': {' '.join(str(failure).split())}"


def test_a_reason_that_all_engines_share_is_said_once() -> None:
    shop = Shop(dict.fromkeys(("torch", "onnxruntime"), NO_FILES))
    with pytest.raises(EngineFilesError) as caught:
        shop.choose("auto", order=("torch", "onnxruntime"))
    assert str(caught.value) == "no engine can run here: torch, onnxruntime: there are no files"


def test_weights_that_cannot_be_read_are_no_engine_s_fault() -> None:
    shop = Shop({}, {"tensorrt": CheckpointError("model.safetensors: is truncated")})
    with pytest.raises(CheckpointError, match="is truncated"):
        shop.choose("auto", order=("tensorrt", "torch"))


def test_the_brave_may_take_other_steps_than_those_stored_but_no_other_files() -> None:
    shop = Shop({"tensorrt": StepsNotStoredError("'steps' is 4, here it is 8")})
    choice = shop.choose("tensorrt", allow_unvalidated=True)
    assert choice.notes == ("engine tensorrt runs UNPROVEN: 'steps' is 4, here it is 8",)
    assert shop.closed == []
    other = Shop({"tensorrt": EngineFilesError("oracle.safetensors: no such file")})
    with pytest.raises(EngineFilesError, match="no such file"):
        other.choose("tensorrt", allow_unvalidated=True)
    assert other.closed == ["tensorrt"]
