"""The model at full size, random weights, two views of 252 x 252: time of every stage and engine.

    python -m benchmarks.inference
    python -m benchmarks.inference --horizons 16 --device cpu --rounds 9
    python -m benchmarks.inference --against my_module:measure

One part of the model (backbone, or head with 4 denoising steps) and two implementations of it are
in memory at a time, and they are timed in turn, A B A B: what else runs on the machine slows
both. "x torch" is the median of the ratios of neighbouring runs.

    GB      weights and tables that one run reads; the head reads its denoising step's four times
    floor   what the machine could do it in: the larger of bytes over its measured bandwidth and
            operations over its measured speed in products of matrices
    share   floor over time

--against names a function FACTORY(part, case) of an importable MODULE. It returns a callable
without arguments that runs this part ("backbone" or "head") once, on inputs of its own, and waits
until it is done. `case` is a `Case`: it says config, device, dtype, token ids, image sizes, number
of denoising steps and seed of the weights.
"""

import argparse
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from groot_ros.evaluation.table import format_table

#: Tokens before, between and after the images: 40 of text.
TEXT, SIZES, STEPS, SEED = (30, 2, 8), ((252, 252), (252, 252)), 4, 0
PARTS = ("backbone", "head")
#: Bytes that must be free for two float32 copies of the larger part.
MEMORY = 13e9
#: GB: resident in bfloat16 for one embodiment, token embeddings included.
WANTED_GB = 5.2

Run = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        config: of the whole model, of its published size.
        device, dtype: as torch names them.
        token_ids: of the prompt with its image tokens, without padding.
        image_sizes: (height, width) of every view.
        steps: denoising steps.
        seed: of the weights.

    """

    config: Any
    device: Any
    dtype: Any
    token_ids: tuple[int, ...]
    image_sizes: tuple[tuple[int, int], ...]
    steps: int
    seed: int


def published(horizon: int) -> Any:
    """Config of the published checkpoint, cut to one embodiment."""
    from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config

    return Gr00tN1d6Config(
        max_state_dim=128, max_action_dim=128, action_horizon=horizon, max_num_embodiments=1
    )


def case_of(horizon: int, device: Any, dtype: Any) -> Case:
    """Two views and 40 tokens of text."""
    config = published(horizon)
    cell = config.eagle.vision.patch_size * config.eagle.shuffle
    ids = [1] * TEXT[0]
    for after, (height, width) in zip(TEXT[1:], SIZES, strict=True):
        ids += [config.eagle.image_token_index] * (height // cell * (width // cell)) + [1] * after
    return Case(config, device, dtype, tuple(ids), SIZES, STEPS, SEED)


def only(part: str, config: Any) -> Any:
    """The config with the other part, and the vocabulary, as small as they can be."""
    eagle = config.eagle
    if part == "head":
        vision = replace(eagle.vision, num_hidden_layers=1)
        config, eagle = replace(config, select_layer=1), replace(eagle, vision=vision)
    else:
        config = replace(config, dit=replace(config.dit, num_layers=2))
    text = replace(eagle.text, vocab_size=2)
    return replace(config, eagle=replace(eagle, text=text, image_token_index=0))


def random_model(part: str, case: Case) -> Any:
    """The plain model with one part at full size: matrices small, norms 1, biases 0."""
    import torch

    from groot_ros.models.gr00t_n1d6 import build_model

    model = build_model(only(part, case.config), device="meta", dtype=case.dtype).eval()
    generator = torch.Generator(case.device).manual_seed(case.seed)
    for name, parameter in list(model.named_parameters()):
        tensor = torch.empty(parameter.shape, dtype=case.dtype, device=case.device)
        if tensor.ndim > 1:
            tensor.normal_(std=0.02, generator=generator)
        else:
            tensor.fill_(float(name.endswith("weight")))
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(tensor, requires_grad=False))
    return model


def ids_of(case: Case) -> Any:
    """Token ids int64 [S] for the small vocabulary of `only`: 0 is the image token."""
    image = case.config.eagle.image_token_index
    return np.array([0 if i == image else 1 for i in case.token_ids], dtype=np.int64)


def noise_and_state(case: Case) -> tuple[Any, Any]:
    """Float32 [1, H, A] and [1, 1, s] in the precision of the weights."""
    import torch

    config = case.config
    noise = torch.randn(1, config.action_horizon, config.max_action_dim, device=case.device)
    state = torch.randn(1, 1, config.max_state_dim, device=case.device, dtype=case.dtype)
    return noise, state


def features_of(case: Case) -> Any:
    """[1, S, D]."""
    import torch

    size = (1, len(case.token_ids), case.config.backbone_embedding_dim)
    return torch.randn(size, device=case.device, dtype=case.dtype)


def waiting(run: Run, device: Any) -> Run:
    """`run`, done when it returns."""
    import torch

    def done() -> None:
        with torch.inference_mode():
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return done


def plain(part: str, case: Case) -> Run:
    """The model as written."""
    import torch

    from groot_ros.models.gr00t_n1d6 import BackboneOutput

    model = random_model(part, case)
    ids = torch.from_numpy(ids_of(case)).to(case.device)[None]
    mask, is_image = torch.ones_like(ids), ids == 0
    if part == "backbone":
        images = [
            torch.rand(1, 3, *size, device=case.device, dtype=case.dtype)
            for size in case.image_sizes
        ]
        return waiting(lambda: model.backbone(ids, mask, images), case.device)
    head, (noise, state) = model.action_head, noise_and_state(case)
    seen = BackboneOutput(features_of(case), mask == 1, is_image)
    row = torch.zeros(1, dtype=torch.int64, device=case.device)
    return waiting(
        lambda: head.denoise(head.context(seen, state, row), noise, case.steps), case.device
    )


def fast(part: str, case: Case) -> Any:
    """The exact fast form with one part at full size, packed on the CPU."""
    from groot_ros.runtime.gr00t_n1d6 import make_fast

    return make_fast(random_model(part, case), step_counts=(case.steps,)).pack()


def part_of(part: str, case: Case, model: Any, executor: Any) -> Run:
    """One part through an executor of the fast form."""
    import torch

    from groot_ros.models.gr00t_n1d6 import Conditioning

    config, eagle = case.config, case.config.eagle
    layout = model.host.layouts.of(ids_of(case), case.image_sizes)
    if part == "backbone":
        pixels = eagle.vision.num_channels * eagle.vision.patch_size**2
        patches = [
            torch.randn(
                len(batch.views),
                batch.grid.cells * eagle.shuffle**2,
                pixels,
                device=case.device,
                dtype=case.dtype,
            )
            for batch in layout.batches
        ]
        return waiting(lambda: executor.backbone(layout, patches), case.device)
    (noise, state), features = noise_and_state(case), features_of(case)
    nothing = Conditioning.none(1, config.action_horizon, config.max_action_dim, case.device)
    tables = model.host.tables.of(case.steps)
    return waiting(
        lambda: executor.head(layout, tables, features, state, noise, nothing), case.device
    )


def stages_of(part: str, case: Case, model: Any) -> dict[str, Run]:
    """Each stage of the fast form alone; "denoise" is all its steps."""
    import torch

    from groot_ros.models.gr00t_n1d6 import Conditioning
    from groot_ros.runtime.gr00t_n1d6 import Stages, run_head

    layout = model.host.layouts.of(ids_of(case), case.image_sizes)
    if part == "backbone":
        batch = layout.batches[0]
        count = len(batch.grid.inputs[0])
        pixels = case.config.eagle.vision.num_channels * case.config.eagle.vision.patch_size**2
        patches = torch.randn(len(batch.views), count, pixels, device=case.device, dtype=case.dtype)
        embeddings = layout.embeddings
        return {
            "vision": waiting(lambda: model.vision(patches, *batch.grid.inputs), case.device),
            "language": waiting(
                lambda: model.language(embeddings, layout.cos, layout.sin), case.device
            ),
        }
    (noise, state), features = noise_and_state(case), features_of(case)
    config = case.config
    nothing = Conditioning.none(1, config.action_horizon, config.max_action_dim, case.device)
    tables = model.host.tables.of(case.steps)
    with torch.inference_mode():
        context = model.context(features, *layout.indexes, state)
    remembered = Stages(model.vision, model.language, lambda *_: context, model.denoise)
    return {
        "context": waiting(lambda: model.context(features, *layout.indexes, state), case.device),
        "denoise": waiting(
            lambda: run_head(remembered, layout, tables, features, state, noise, nothing),
            case.device,
        ),
    }


def against(name: str) -> Callable[[str, Case], Run]:
    """The factory that MODULE:FACTORY names."""
    module, _, attribute = name.partition(":")
    if not attribute:
        sys.exit(f"--against {name}: give MODULE:FACTORY")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        sys.exit(f"--against {name}: {error}")


@dataclass(frozen=True)
class Work:
    """Bytes read and operations done by one run of a stage."""

    nbytes: float
    operations: float


def linear_weights(module: Any) -> int:
    """Parameters of the matrices below a module, packed or not."""
    from groot_ros.runtime.gr00t_n1d6.packed import linear_sizes

    return sum(linear_sizes(module))


def work_of(part: str, case: Case, model: Any) -> dict[str, Work]:
    """By stage; a product of n rows with a matrix is 2 n operations a weight."""
    from groot_ros.runtime.gr00t_n1d6.packed import held_bytes

    eagle, dit = case.config.eagle, case.config.dit
    tokens = len(case.token_ids)
    cells = tokens - sum(TEXT)
    if part == "backbone":
        patches, width = cells * eagle.shuffle**2, eagle.vision.hidden_size
        tower, connector = (
            sum(linear_weights(m) for m in modules)
            for modules in (
                (model.vision.embed, model.vision.layers),
                (model.vision.first, model.vision.second),
            )
        )
        pairs = patches**2 / len(case.image_sizes)
        attention = 4 * pairs * width * eagle.vision.num_hidden_layers
        wide = eagle.text.num_attention_heads * eagle.text.head_dim
        causal = 4 * tokens**2 / 2 * wide * len(model.language.layers)
        return {
            "vision": Work(
                held_bytes(model.vision), 2 * (patches * tower + cells * connector) + attention
            ),
            "language": Work(
                held_bytes(model.language), 2 * tokens * linear_weights(model.language) + causal
            ),
        }
    rows, width = case.config.action_horizon + 1, dit.inner_dim
    seen = tokens / 2 if case.config.use_alternate_vl_dit else tokens
    cross = math.ceil(dit.num_layers / 2)
    keys = 2 * cross * seen * width
    attention = 4 * rows * width * (cross * seen + (dit.num_layers - cross) * rows)
    step = 2 * rows * linear_weights(model.denoise) + attention
    size = model.host.dtype.itemsize
    read = held_bytes(model.denoise) + keys * size
    return {
        "context": Work(held_bytes(model.context), seen * 2 * linear_weights(model.context)),
        "denoise": Work(
            case.steps * read + model.host.tables.of(case.steps).nbytes, case.steps * step
        ),
    }


def best(run: Run, times: int) -> float:
    """Seconds of the fastest of several runs."""
    run()
    return min(seconds(run) for _ in range(times))


def seconds(run: Run) -> float:
    """Of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def limits_of_machine(device: Any, dtype: Any) -> tuple[float, float]:
    """Measured: bytes/s of a sum over 1 GiB, and operations/s of a product of large matrices."""
    import torch
    from torch import nn

    from groot_ros.runtime.gr00t_n1d6.packed import pack

    buffer = torch.ones(1 << 28, dtype=torch.float32, device=device)
    read = best(waiting(buffer.sum, device), 5)
    side = 2048 if device.type == "cpu" else 8192
    product = nn.Sequential(nn.Linear(side, side, device=device, dtype=dtype))
    if device.type == "cpu":
        pack(product)
    x = torch.randn(side, side, device=device, dtype=dtype)
    multiplied = best(waiting(lambda: product(x), device), 5)
    return buffer.nbytes / read, 2 * side**3 / multiplied


def interleaved(runs: Sequence[Run], rounds: int, label: str) -> list[list[float]]:
    """Seconds of every run in every round, after one that does not count."""
    from tqdm import tqdm

    for run in runs:
        run()
    bar = tqdm(range(rounds), desc=label, file=sys.stderr, leave=False, disable=None)
    measured = [[seconds(run) for run in runs] for _ in bar]
    return [list(each) for each in zip(*measured, strict=True)]


def milliseconds(values: Sequence[float]) -> str:
    """Median."""
    return f"{1e3 * median(values):.1f}"


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """Median of the ratios of neighbours."""
    return f"{median(a / b for a, b in zip(values, base, strict=True)):.3f}"


def rows_of(
    part: str,
    case: Case,
    others: dict[str, Callable[[str, Case], Run]],
    rounds: int,
    limits: tuple[float, float],
) -> Iterator[list[str]]:
    """Name, part, ms, x torch, GB, floor ms, share."""
    from groot_ros.runtime.gr00t_n1d6 import TorchExecutor

    model = fast(part, case)
    work = work_of(part, case, model)
    whole = Work(sum(w.nbytes for w in work.values()), sum(w.operations for w in work.values()))
    mine = part_of(part, case, model, TorchExecutor(model))

    def line(name: str, stage: str, times: list[float], base: list[float], w: Work) -> list[str]:
        floor = sum(
            max(each.nbytes / limits[0], each.operations / limits[1])
            for each in (work.values() if w is whole else [w])
        )
        return [
            name,
            stage,
            milliseconds(times),
            ratio(times, base),
            f"{w.nbytes / 1e9:.2f}",
            f"{1e3 * floor:.1f}",
            f"{100 * floor / median(times):.0f} %",
        ]

    stages = stages_of(part, case, model)
    timed = interleaved([mine, *stages.values()], rounds, f"{part}, torch")
    for stage, times in zip(stages, timed[1:], strict=True):
        yield line("torch", stage, times, timed[0], work[stage])
    yield line("torch", part, timed[0], timed[0], whole)
    del stages
    for name, make in others.items():
        theirs = make(part, case)
        base, times = interleaved([mine, theirs], rounds, f"{part}, {name}")
        yield [name, part, milliseconds(times), ratio(times, base), "", "", ""]
        yield ["  torch / it", part, milliseconds(base), ratio(base, times), "", "", ""]
        del theirs


def resident_gb(case: Case) -> float:
    """GB of the fast form in bfloat16, token embeddings and tables included; no weight is made."""
    import torch

    from groot_ros.models.gr00t_n1d6 import build_model
    from groot_ros.runtime.gr00t_n1d6 import make_fast

    model = build_model(case.config, device="meta", dtype=torch.bfloat16)
    counted = make_fast(model, step_counts=(case.steps,))
    return (counted.nbytes + counted.host.layouts.nbytes) / 1e9


def report(options: argparse.Namespace, device: Any, dtype: Any) -> None:
    """One table for every horizon."""
    import torch

    others: dict[str, Callable[[str, Case], Run]] = {"plain": plain}
    if options.against:
        others[options.against] = against(options.against)
    limits = limits_of_machine(device, dtype)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(
        f"\n{device}{threads}, {str(dtype).removeprefix('torch.')}: measured "
        f"{limits[0] / 1e9:.1f} GB/s and {limits[1] / 1e12:.2f} TFLOP/s"
    )
    header = ["engine", "part", "ms", "x torch", "GB", "floor ms", "share"]
    for horizon in options.horizons:
        case = case_of(horizon, device, dtype)
        print(f"\nhorizon {horizon}, {len(case.token_ids)} tokens, {case.steps} steps", flush=True)
        rows = []
        for part in options.parts:
            rows += rows_of(part, case, others, options.rounds, limits)
        print(format_table(header, rows), flush=True)


def main() -> None:
    """Print one table for every device and horizon."""
    import torch

    doc = __doc__ or ""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--horizons", type=int, nargs="+", default=[16, 50])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="runs of everything (default 5)")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 = as torch chooses")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--against", metavar="MODULE:FACTORY", help="another implementation")
    options = parser.parse_known_args()[0]
    if options.threads:
        torch.set_num_threads(options.threads)
    gb = resident_gb(case_of(options.horizons[0], torch.device("cpu"), torch.float32))
    print(f"resident, bfloat16, one embodiment: {gb:.2f} GB (wanted <= {WANTED_GB})")
    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name in names if options.device == "auto" else [options.device]:
        device = torch.device(name)
        default = torch.bfloat16 if name == "cuda" else torch.float32
        report(options, device, getattr(torch, options.dtype, default))


if __name__ == "__main__":
    main()
