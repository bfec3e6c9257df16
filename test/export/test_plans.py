# SPDX-License-Identifier: Apache-2.0
"""Building every segment, with a builder that only records what it is asked for."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.manifests import ORIN
from support.tiny_checkpoint import TAG
from support.tiny_engine import load

from groot_ros.export import plans
from groot_ros.export.plans import build_plans
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.runtime.engine import EngineFilesError, TensorRtError
from groot_ros.runtime.manifest import Manifest

pytestmark = pytest.mark.slow

CUDA = torch.device("cuda:0")


class Builder:
    """Replaces `groot_ros.runtime.tensorrt.build`, which imports TensorRT."""

    def __init__(self, broken: str = "") -> None:
        self.asked: list[tuple] = []
        self.broken = broken

    def BuildOptions(self, workspace_bytes, optimisation_level, timing_cache):  # noqa: N802
        return SimpleNamespace(workspace=workspace_bytes, level=optimisation_level, at=timing_cache)

    def build_plan(self, onnx, plan, segment, weights, sizes, *, device, options, progress):
        if segment.name == self.broken:
            raise TensorRtError("no memory")
        self.asked.append((onnx.name, segment.name, weights, sizes, device, options))
        progress("phase", 0.5)
        plan.write_text(f"engine of {segment.name}")
        return ORIN


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    builder = Builder()
    monkeypatch.setitem(sys.modules, "groot_ros.runtime.tensorrt.build", builder)
    monkeypatch.setattr(plans, "unavailable", lambda: None)
    return builder


@pytest.fixture
def directory(engine_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(engine_directory, tmp_path / "engine"))


def build(
    checkpoint: Path,
    directory: Path,
    seen: list | None = None,
    device: torch.device = CUDA,
    **more,
) -> Manifest:
    return build_plans(
        directory,
        Manifest.read(directory),
        open_checkpoint(checkpoint, TAG).program,
        device=device,
        progress=lambda what, fraction: (seen if seen is not None else []).append((what, fraction)),
        **more,
    )


def test_every_segment_is_built_for_the_profile_and_the_machine_is_stored(
    checkpoint: Path, directory: Path, builder: Builder
) -> None:
    seen: list = []
    built = build(checkpoint, directory, seen, workspace_gib=2.0, optimisation_level=5)
    assert [name for _, name, *_ in builder.asked] == ["vision", "language", "context", "denoise"]
    for onnx, name, weights, sizes, device, options in builder.asked:
        assert (onnx, weights, device) == (f"{name}.onnx", torch.float32, CUDA)
        assert sizes == built.profile
        assert (options.workspace, options.level) == (2 * 2**30, 5)
        assert options.at == directory / "timing.cache"
    assert ("denoise: phase", 0.5) in seen
    assert Manifest.read(directory) == built
    built.require_plans(directory, ORIN)
    assert {files.plan.file for files in built.segments.values() if files.plan} == {
        *("vision.plan", "language.plan", "context.plan", "denoise.plan")
    }


def test_a_build_that_fails_keeps_the_segments_before(
    checkpoint: Path, directory: Path, builder: Builder
) -> None:
    builder.broken = "context"
    with pytest.raises(EngineFilesError, match="segment 'context': no memory"):
        build(checkpoint, directory)
    segments = Manifest.read(directory).segments
    assert [name for name, files in segments.items() if files.plan] == ["vision", "language"]


def test_nothing_is_built_without_tensorrt_or_without_a_gpu(
    checkpoint: Path, directory: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "unavailable", lambda: "no CUDA driver")
    with pytest.raises(EngineFilesError, match="nothing can be built here: no CUDA driver"):
        build(checkpoint, directory)
    monkeypatch.setattr(plans, "unavailable", lambda: None)
    with pytest.raises(EngineFilesError, match="needs a CUDA device, not cpu"):
        build(checkpoint, directory, device=torch.device("cpu"))
    assert not builder.asked


def test_a_changed_onnx_file_is_not_built(
    checkpoint: Path, directory: Path, builder: Builder
) -> None:
    (directory / "vision.onnx").write_bytes(b"other")
    with pytest.raises(EngineFilesError, match=r"'segments\.vision\.sha256' is"):
        build(checkpoint, directory)
    assert not builder.asked
    assert load(checkpoint, "torch", directory).engine.name == "torch"
