"""Which engine is taken, with engines that only say how good they are."""

from types import SimpleNamespace

import numpy as np
import pytest

from groot_ros.runtime.choice import UnprovenEngineError, choose_engine, order_of
from groot_ros.runtime.manifest import EngineFilesError
from groot_ros.runtime.oracle import Verdict


class Shop:
    """Makes engines whose error is known beforehand; remembers which were closed."""

    def __init__(self, errors: dict[str, float | None], broken: tuple[str, ...] = ()) -> None:
        self.errors, self.broken = errors, broken
        self.closed: list[str] = []

    def make(self, name: str):
        if name in self.broken:
            raise EngineFilesError(f"{name} has no files")
        return SimpleNamespace(name=name, close=lambda: self.closed.append(name))

    def prove(self, engine) -> Verdict | None:
        error = self.errors[engine.name]
        return None if error is None else Verdict(error, 1e-4, 0, {}, 0.01)

    def choose(self, wanted: str, **more):
        more = {"obstacle": lambda name: "", **more}
        return choose_engine(wanted, self.make, self.prove, **more)


def test_what_is_asked_for_is_taken_when_proven() -> None:
    choice = Shop({"torch": 1e-6}).choose("torch")
    assert choice.engine.name == "torch"
    assert choice.notes == (
        "engine torch taken, proven: max abs error 1e-06 in normalised units (tolerance 0.0001, "
        "worst in stored observation 0), 10.0 ms",
    )


@pytest.mark.parametrize("error", [2e-4, np.nan, np.inf])
def test_what_is_asked_for_is_refused_when_not_proven_and_gives_its_memory_back(
    error: float,
) -> None:
    shop = Shop({"tensorrt": error})
    with pytest.raises(UnprovenEngineError, match="allow_unproven_engine"):
        shop.choose("tensorrt")
    assert shop.closed == ["tensorrt"]


def test_the_brave_get_it_with_a_warning() -> None:
    choice = Shop({"tensorrt": 0.5}).choose("tensorrt", allow_unproven=True)
    assert choice.engine.name == "tensorrt"
    assert choice.notes[0].startswith("engine tensorrt runs UNPROVEN: max abs error 0.5")


def test_auto_goes_down_the_order_and_gives_a_reason_for_each() -> None:
    shop = Shop({"cuda_graph": 0.1, "torch": 1e-6}, broken=("onnxruntime",))
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
    assert choice.notes[1].endswith("onnxruntime has no files")


def test_auto_never_takes_an_unproven_engine_even_for_the_brave() -> None:
    shop = Shop({"torch": 1.0, "onnxruntime": 1.0})
    with pytest.raises(EngineFilesError, match="no engine can run here: engine torch not taken"):
        shop.choose("auto", order=("torch", "onnxruntime"), allow_unproven=True)
    assert shop.closed == ["torch", "onnxruntime"]


def test_without_stored_answers_the_first_that_runs_is_taken_and_that_is_said() -> None:
    choice = Shop({"torch": None}, broken=("tensorrt",)).choose("auto", order=("tensorrt", "torch"))
    assert choice.verdict is None
    assert "no stored answers" in choice.notes[-1]


def test_measured_engines_go_first_by_their_time() -> None:
    assert order_of({}) == ("tensorrt", "cuda_graph", "torch", "onnxruntime")
    measured = order_of({"torch": 0.3, "onnxruntime": 0.1, "plain": 0.01})
    assert measured == ("onnxruntime", "torch", "tensorrt", "cuda_graph")
