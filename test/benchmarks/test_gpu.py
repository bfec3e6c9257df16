# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks gpu` on the CPU with a tiny model: everything except CUDA itself."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.fake_graph_recorder import FakeGraphRecorder
from support.torch_threads import one_thread

from benchmarks.gpu import engines, report
from benchmarks.gpu.cases import in_float32, make_case
from benchmarks.gpu.report import main, peak_bandwidth
from benchmarks.inference.roofline import Machine

__all__ = ["one_thread"]

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
TINY = ["--device", "cpu", "--size", "tiny", "--rounds", "1"]
N1D6 = [*TINY, "--families", "gr00t_n1d6"]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Machine, "measure", lambda *_: Machine(1e9, 1e9))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))


@pytest.mark.slow
def test_every_engine_is_validated_and_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "has_graphs", lambda device: True)
    monkeypatch.setattr(engines, "make_recorder", lambda device: FakeGraphRecorder())
    assert main([*N1D6, "--compile-backend", "aot_eager"]) == 0
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    rows = {(row["stage"], row["engine"]): row for row in found["rows"]}
    assert set(rows) == {(stage, e) for stage in ("backbone", "head") for e in engines.ENGINES}
    for row in rows.values():
        assert row["validated"]
        assert 0.0 < row["error"] <= row["tolerance"] <= 0.2
        assert row["seconds"] > 0
        assert row["compile_seconds"] > 0
    assert set(rows["head", "torch.compile"]["segments"]) == {"context", "denoise"}
    assert rows["head", "cuda_graph"]["limit_seconds"] > 0
    assert found["dtype"] == "bfloat16"
    table = (tmp_path / "out" / "gpu.md").read_text()
    assert table.count("| gr00t_n1d6 |") == 8
    assert table.splitlines()[2] in capsys.readouterr().out


@pytest.mark.slow
def test_an_engine_with_wrong_results_makes_the_command_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(case, backend):
        made = engines.reference(case, backend)
        return engines.Measured(lambda: made.run() + (0.5 if case.stage == "head" else 0.0))

    monkeypatch.setitem(engines.ENGINES, "torch", wrong)
    assert main([*N1D6, "--engines", "reference", "torch"]) == 1
    text = capsys.readouterr().out
    assert "NOT VALIDATED: gr00t_n1d6 head, engine torch: error" in text
    assert text.count("NOT VALIDATED") == 1


@pytest.mark.slow
def test_an_engine_without_its_graph_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "has_graphs", lambda device: True)
    fault = RuntimeError("operation not permitted")
    monkeypatch.setattr(engines, "make_recorder", lambda device: FakeGraphRecorder(fault=fault))
    with pytest.raises(SystemExit, match=r"engine cuda_graph does not run.*operation not perm"):
        main([*N1D6, "--engines", "cuda_graph"])


@pytest.mark.slow
def test_the_float32_reference_has_the_same_weights() -> None:
    case = make_case("gr00t_n1d6", "head", 16, CPU, torch.bfloat16, tiny=True)
    exact = in_float32(case)
    for one, other in zip(case.model().parameters(), exact.model().parameters(), strict=True):
        assert torch.equal(one.float(), other)
    with pytest.raises(ValueError, match="family 'unknown' has no tiny model"):
        make_case("unknown", "head", 16, CPU, torch.bfloat16, tiny=True)


def test_without_a_gpu_the_command_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "no CUDA device; try the command with --device cpu" in capsys.readouterr().err


def test_the_limit_comes_from_the_memory_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """An H200 has 3.2 GHz and 6144 bits, which is 4.9 TB/s; a Jetson may report nothing."""
    known = SimpleNamespace(memory_clock_rate=3_201_000, memory_bus_width=6144)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: known)
    assert peak_bandwidth(torch.device("cuda", 0)) == pytest.approx(4.917e12, rel=1e-3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace())
    assert peak_bandwidth(torch.device("cuda", 0)) == 0.0
    assert peak_bandwidth(CPU) == 0.0


ONLY_TORCH = """
import builtins
import sys

absent = {"rclpy", "yaml", "PIL", "tqdm", "onnx", "onnxruntime", "onnxscript", "ml_dtypes",
          "mujoco", "matplotlib", "rosbags"}
original = builtins.__import__

def only_torch(name, *rest, **more):
    if name.partition(".")[0] in absent:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return original(name, *rest, **more)

builtins.__import__ = only_torch
from benchmarks.__main__ import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_it_needs_no_package_besides_torch_numpy_safetensors_and_tokenizers() -> None:
    arguments = ["gpu", *TINY, "--engines", "torch"]
    done = subprocess.run(
        [sys.executable, "-c", ONLY_TORCH, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("| gr00t_n1d6 |") == done.stdout.count("| gr00t_n1d5 |") == 2
