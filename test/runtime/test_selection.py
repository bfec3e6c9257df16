# SPDX-License-Identifier: Apache-2.0
"""Selection of an engine, among engines that only have a known error or failure."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groot_ros.core.config_reader import CheckpointError
from groot_ros.runtime.engine import (
    EngineFailedError,
    EngineFilesError,
    StepsNotStoredError,
    TensorRtError,
)
from groot_ros.runtime.engines import candidates
from groot_ros.runtime.reference_outputs import UnvalidatedEngineError, ValidationResult
from groot_ros.runtime.selection import Selection, order_of, select_engine

USUAL = ("tensorrt", "cuda_graph", "torch", "onnxruntime", "torch_tensorrt")
NO_FILES = EngineFilesError("there are no files")
#: One failure of each class that engines have raised.
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


class Engines:
    """Makes engines with a known error or failure; records which were closed.

    Args:
        errors: engine -> error of its validation, exception that it raises, or None without
            reference outputs.
        broken: engine -> exception that making it raises.

    """

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

    def validate(self, engine) -> ValidationResult | None:
        error = self.errors[engine.name]
        if isinstance(error, BaseException):
            raise error
        return None if error is None else ValidationResult(error, 1e-4, 0, {}, 0.01)

    def select(self, requested: str, **more) -> Selection:
        more = {"unavailable_reason": lambda name: "", "order": USUAL, **more}
        return select_engine(requested, self.make, self.validate, **more)


def test_the_requested_engine_is_selected_when_it_validates() -> None:
    selection = Engines({"torch": 1e-6}).select("torch")
    assert selection.engine.name == "torch"
    assert selection.notes == (
        "engine torch selected, validated: max abs error 1e-06 in normalised units (tolerance "
        "0.0001, worst in stored observation 0), shortest run 10.0 ms",
    )
    assert selection.warnings == ()


@pytest.mark.parametrize("error", [2e-4, np.nan, np.inf])
def test_the_requested_engine_is_rejected_and_closed_when_it_does_not_validate(
    error: float,
) -> None:
    engines = Engines({"tensorrt": error})
    with pytest.raises(UnvalidatedEngineError, match="allow_unvalidated_engine") as caught:
        engines.select("tensorrt")
    assert caught.value.result.error is error
    assert engines.closed == ["tensorrt"]


def test_an_unvalidated_engine_that_is_allowed_runs_with_a_warning() -> None:
    selection = Engines({"tensorrt": 0.5}).select("tensorrt", allow_unvalidated=True)
    assert selection.engine.name == "tensorrt"
    assert selection.notes[0].startswith("engine tensorrt runs UNVALIDATED: max abs error 0.5")
    assert selection.warnings == selection.notes


def test_auto_goes_down_the_order_and_gives_a_reason_for_each() -> None:
    engines = Engines({"cuda_graph": 0.1, "torch": 1e-6}, broken={"onnxruntime": NO_FILES})
    order = ("tensorrt", "onnxruntime", "cuda_graph", "torch")
    reasons = {"tensorrt": "no CUDA driver"}
    selection = engines.select(
        "auto", order=order, unavailable_reason=lambda name: reasons.get(name, "")
    )
    assert selection.engine.name == "torch"
    assert engines.closed == ["cuda_graph"]
    assert [note.split(":")[0] for note in selection.notes] == [
        "engine tensorrt not selected",
        "engine onnxruntime not selected",
        "engine cuda_graph not selected",
        "engine torch selected, validated",
    ]
    assert selection.notes[0].endswith("no CUDA driver")
    assert selection.notes[1].endswith("there are no files")
    assert selection.warnings == selection.notes[1:3]


def test_auto_never_selects_an_unvalidated_engine_even_if_that_is_allowed() -> None:
    engines = Engines({"torch": 1.0, "onnxruntime": 1.0})
    with pytest.raises(
        EngineFilesError, match="no engine can run here: torch, onnxruntime: not validated: max abs"
    ):
        engines.select("auto", order=("torch", "onnxruntime"), allow_unvalidated=True)
    assert engines.closed == ["torch", "onnxruntime"]


def test_without_reference_outputs_the_first_that_runs_is_selected_with_a_note() -> None:
    engines = Engines({"torch": None}, {"tensorrt": NO_FILES})
    selection = engines.select("auto", order=("tensorrt", "torch"))
    assert selection.validation is None
    assert "no reference outputs" in selection.notes[-1]


def test_measured_engines_go_first_by_their_time() -> None:
    assert candidates() == USUAL
    assert order_of({}, USUAL) == USUAL
    measured = order_of({"torch": 0.3, "onnxruntime": 0.1, "reference": 0.01}, USUAL)
    assert measured == ("onnxruntime", "torch", "tensorrt", "cuda_graph", "torch_tensorrt")


@pytest.mark.parametrize("failure", FAILURES, ids=kind)
def test_auto_closes_an_engine_whose_validation_fails_and_goes_on(failure: Exception) -> None:
    engines = Engines({"tensorrt": failure, "torch": 1e-6})
    selection = engines.select("auto", order=("tensorrt", "torch"))
    assert selection.engine.name == "torch"
    assert engines.closed == ["tensorrt"]
    reason = " ".join(str(failure).split())
    assert selection.notes[0] == f"engine tensorrt not selected: {reason}"


@pytest.mark.parametrize("failure", FAILURES, ids=kind)
def test_auto_goes_on_where_an_engine_cannot_be_made(failure: Exception) -> None:
    engines = Engines({"torch": 1e-6}, {"tensorrt": failure})
    selection = engines.select("auto", order=("tensorrt", "torch"))
    assert selection.engine.name == "torch"
    assert len(selection.notes[0].splitlines()) == 1


@pytest.mark.parametrize("failure", [*FAILURES, KeyboardInterrupt()], ids=kind)
def test_the_requested_engine_is_closed_when_its_validation_fails(failure: BaseException) -> None:
    engines = Engines({"tensorrt": failure})
    expected = EngineFailedError if isinstance(failure, RuntimeError | OSError) else type(failure)
    with pytest.raises(expected):
        engines.select("tensorrt")
    assert engines.closed == ["tensorrt"]


@pytest.mark.parametrize("failure", FAILURES[3:5] + FAILURES[6:], ids=kind)
def test_a_failure_is_reported_on_one_line_with_the_engine_s_name(failure: Exception) -> None:
    for engines in (Engines({"tensorrt": failure}), Engines({}, {"tensorrt": failure})):
        with pytest.raises(EngineFailedError) as caught:
            engines.select("tensorrt")
        assert str(caught.value) == f"engine 'tensorrt': {' '.join(str(failure).split())}"


def test_an_engine_that_is_unavailable_is_not_made() -> None:
    engines = Engines({}, {"tensorrt": AssertionError("made")})
    with pytest.raises(EngineFilesError) as caught:
        engines.select("tensorrt", unavailable_reason=lambda name: f"no {name} here")
    assert str(caught.value) == "engine 'tensorrt': no tensorrt here"


def test_a_reason_that_all_engines_share_is_given_once() -> None:
    engines = Engines(dict.fromkeys(("torch", "onnxruntime"), NO_FILES))
    with pytest.raises(EngineFilesError) as caught:
        engines.select("auto", order=("torch", "onnxruntime"))
    assert str(caught.value) == "no engine can run here: torch, onnxruntime: there are no files"


def test_weights_that_cannot_be_read_end_the_selection() -> None:
    engines = Engines({}, {"tensorrt": CheckpointError("model.safetensors: is truncated")})
    with pytest.raises(CheckpointError, match="is truncated"):
        engines.select("auto", order=("tensorrt", "torch"))


def test_allowing_an_unvalidated_engine_allows_other_steps_but_no_other_files() -> None:
    engines = Engines({"tensorrt": StepsNotStoredError("'steps' is 4, here it is 8")})
    selection = engines.select("tensorrt", allow_unvalidated=True)
    assert selection.notes == ("engine tensorrt runs UNVALIDATED: 'steps' is 4, here it is 8",)
    assert engines.closed == []
    other = Engines({"tensorrt": EngineFilesError("reference_outputs.safetensors: no such file")})
    with pytest.raises(EngineFilesError, match="no such file"):
        other.select("tensorrt", allow_unvalidated=True)
    assert other.closed == ["tensorrt"]
