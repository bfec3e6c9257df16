"""The benchmark of inference: what it counts, and a whole run of it on a tiny model."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from benchmarks.inference.work import Machine, Work, resident_bytes, work_of
from support.tiny_checkpoint import tiny_config

from benchmarks.inference import Case, main
from benchmarks.inference.contestants import fast, plain, through
from groot_ros.models.gr00t_n1d6 import build_model
from groot_ros.runtime.gr00t_n1d6 import TorchRunner, make_fast

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published checkpoint is a tiny one for a while."""

    def small(horizon: int, device: torch.device, dtype: torch.dtype) -> Case:
        config = tiny_config(action_horizon=horizon, max_num_embodiments=1, max_seq_len=64)
        ids = (1, 2, *[config.eagle.image_token_index] * 8, 3)
        return Case(config, device, dtype, ids, ((56, 56), (56, 56)), 2, 0)

    monkeypatch.setattr("benchmarks.inference.case.Case.published", small)
    monkeypatch.setattr("benchmarks.inference.case._BLOCK", 1000)
    monkeypatch.setattr("benchmarks.inference.report.MEMORY", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "head"), [(16, 0.135e12), (50, 0.366e12)])
def test_operations_and_bytes_are_those_of_the_published_architecture(horizon, head) -> None:
    """Figures computed by hand from the layers' sizes: two views, 202 tokens, 4 steps."""
    case = Case.published(horizon, CPU, torch.bfloat16)
    assert len(case.token_ids) == 202
    model = make_fast(build_model(case.config, device="meta", dtype=torch.bfloat16))
    backbone, rest = (work_of(part, case, model) for part in ("backbone", "head"))
    assert backbone["vision"].operations == pytest.approx(0.565e12, rel=0.01)
    assert backbone["language"].operations == pytest.approx(0.328e12, rel=0.01)
    assert backbone["vision"].nbytes == pytest.approx(0.852e9, rel=0.01)
    assert backbone["language"].nbytes == pytest.approx(1.611e9, rel=0.01)
    assert sum(w.operations for w in rest.values()) == pytest.approx(head, rel=0.02)
    assert sum(w.nbytes for w in rest.values()) == pytest.approx(6.97e9, rel=0.02)
    assert resident_bytes(case) < 5.2e9


def test_the_floor_is_the_slower_of_reading_and_computing() -> None:
    machine = Machine(bandwidth=10.0, speed=100.0)
    assert machine.floor(Work(nbytes=20.0, operations=100.0)) == 2.0
    assert machine.floor(Work(nbytes=5.0, operations=300.0)) == 3.0


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("part", ["backbone", "head"])
def test_plain_and_fast_get_the_same_weights_and_inputs(part: str) -> None:
    case = Case.published(8, CPU, torch.float32)
    model = fast(part, case)
    found = through(part, case, model, TorchRunner(model))()
    torch.testing.assert_close(found, plain(part, case)(), atol=1e-5, rtol=0)
    other = replace(case, seed=1)
    assert not torch.allclose(found, plain(part, other)())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_run_prints_every_stage_and_contestant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("benchmarks.inference.work.Machine.measure", lambda *_: Machine(1e9, 1e9))
    elsewhere = ModuleType("elsewhere")
    elsewhere.other = lambda part, case: lambda: asked.append(part)
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    arguments = ["--rounds", "1", "--horizons", "8", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["inference", *arguments, "--against", "elsewhere:other"])
    main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    names = [tuple(row[:2]) for row in rows if row and row[0] in ("torch", "plain")]
    assert names == [
        ("torch", "vision"),
        ("torch", "language"),
        ("torch", "backbone"),
        ("plain", "backbone"),
        ("torch", "context"),
        ("torch", "denoise"),
        ("torch", "head"),
        ("plain", "head"),
    ]
    assert ["elsewhere:other", "head"] in [row[:2] for row in rows]
    assert set(asked) == {"backbone", "head"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["nothing", "no_such_module:x", "sys:no_such_name"])
def test_an_implementation_that_is_not_there_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["inference", "--device", "cpu", "--against", name])
    with pytest.raises(SystemExit, match=f"--against {name}"):
        main()
