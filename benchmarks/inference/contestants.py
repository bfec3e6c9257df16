"""Implementations of one part of the model, each as a callable that runs it once."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference.case import Case
from groot_ros.models.gr00t_n1d6 import BackboneOutput, Conditioning
from groot_ros.runtime.contract import stage_specs
from groot_ros.runtime.gr00t_n1d6 import (
    Runner,
    StagedModel,
    StageRunner,
    Stages,
    TorchRunner,
    make_fast,
    run_head,
    to_cell_patches,
)

#: Returns the part's output where it is one of ours, done when it returns.
Run = Callable[[], Any]
Factory = Callable[[str, Case], Run]

#: Gigabytes go here, not to /tmp, which may lie in memory.
_OUT = Path("out")
PART_STAGES = {"backbone": ("vision", "language"), "head": ("context", "denoise")}


def waiting(work: Run, case: Case) -> Run:
    """`work`, done when it returns."""

    def run() -> Any:
        with torch.inference_mode():
            result = work()
        if case.device.type == "cuda":
            torch.cuda.synchronize(case.device)
        return result

    return run


def plain(part: str, case: Case) -> Run:
    """The model as written."""
    model = case.model(part)
    ids = case.small_ids().to(case.device)[None]
    mask = torch.ones_like(ids)
    if part == "backbone":
        images = case.images()
        return waiting(lambda: model.backbone(ids, mask, images).features, case)
    head, noise, state = model.action_head, case.noise(), case.state()
    seen = BackboneOutput(case.features(), mask == 1, ids == 0)
    row = torch.zeros(1, dtype=torch.int64, device=case.device)
    return waiting(lambda: head.denoise(head.context(seen, state, row), noise, case.steps), case)


def fast(part: str, case: Case) -> StagedModel:
    """The exact fast form with one part at full size."""
    return make_fast(case.model(part), step_counts=(case.steps,))


def through(part: str, case: Case, model: StagedModel, runner: Runner) -> Run:
    """One part through a runner of the fast form."""
    layout = model.host.layouts.of(case.small_ids().numpy(), case.image_sizes)
    if part == "backbone":
        patches = _patches(case, model)
        return waiting(lambda: runner.backbone(layout, patches), case)
    features, state, noise = case.features(), case.state(), case.noise()
    tables, free = model.host.tables.of(case.steps), _unconditioned(case)
    return waiting(lambda: runner.head(layout, tables, features, state, noise, free), case)


def stage_by_stage(part: str, case: Case, model: StagedModel) -> dict[str, Run]:
    """Each stage of the fast form alone; "denoise" is all its steps."""
    stages = model.stages
    layout = model.host.layouts.of(case.small_ids().numpy(), case.image_sizes)
    if part == "backbone":
        (patches,), grid = _patches(case, model), layout.batches[0].grid.inputs
        embeddings = layout.embeddings
        return {
            "vision": waiting(lambda: stages.vision(patches, *grid), case),
            "language": waiting(lambda: stages.language(embeddings, layout.cos, layout.sin), case),
        }
    features, state, noise = case.features(), case.state(), case.noise()
    tables, free = model.host.tables.of(case.steps), _unconditioned(case)
    context = waiting(lambda: stages.context(features, *layout.indexes, state), case)
    remembered = context()
    denoise = Stages(stages.vision, stages.language, lambda *_: remembered, stages.denoise)
    return {
        "context": context,
        "denoise": waiting(
            lambda: run_head(denoise, layout, tables, features, state, noise, free), case
        ),
    }


def cuda_graph(part: str, case: Case) -> Run:
    """Recorded once, replayed."""
    from groot_ros.runtime.graph_recorder import CudaGraphRecorder
    from groot_ros.runtime.graph_runner import GraphRunner

    model = fast(part, case)
    runner = GraphRunner(TorchRunner(model), CudaGraphRecorder(case.device))
    run = through(part, case, model, runner)
    run()
    for what, reason in runner.reasons.items():
        raise RuntimeError(f"cuda_graph runs the {what} without a graph: {reason}")
    return run


def onnxruntime(part: str, case: Case) -> Run:
    """The files that TensorRT engines are built from, executed."""
    from groot_ros.export.onnx_file import export_stage
    from groot_ros.runtime.onnxruntime_stages import OnnxruntimeStage

    model = fast(part, case)
    specs, square = stage_specs(model.host.config), case.config.eagle.shuffle**2
    precision = str(case.dtype).removeprefix("torch.")
    threads = torch.get_num_threads()
    stages: dict[str, Any] = dict.fromkeys(model.modules, _absent)
    _OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_OUT, prefix="inference_") as folder:
        for name in PART_STAGES[part]:
            path = Path(folder) / f"{name}.onnx"
            module = model.modules[name]
            export_stage(module, specs[name], path, square=square, precision=precision)
            module.to("meta")
            stages[name] = OnnxruntimeStage(
                specs[name], path, precision, square, case.device, threads
            )
    return through(part, case, model, _Sessions(Stages(**stages)))


class _Sessions(StageRunner):
    memory_bytes = 0

    def close(self) -> None:
        """Nothing is held beside the stages."""


def _absent(*_: Tensor) -> Tensor:
    raise AssertionError("this stage belongs to the other part")


def _patches(case: Case, model: StagedModel) -> list[Tensor]:
    """All views have one size."""
    eagle = model.host.config.eagle
    images = torch.cat(case.images())
    return [to_cell_patches(images, eagle.vision.patch_size, eagle.shuffle)]


def _unconditioned(case: Case) -> Conditioning:
    config = case.config
    return Conditioning.none(1, config.action_horizon, config.max_action_dim, case.device)


#: What can be named on the command line beside "torch".
ENGINES: dict[str, Factory] = {
    "plain": plain,
    "cuda_graph": cuda_graph,
    "onnxruntime": onnxruntime,
}
