# SPDX-License-Identifier: Apache-2.0
"""The staged model on golden inputs: segment by segment, one observation at a time."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from groot_ros.families.gr00t.prompts import Prompt
from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.layout import Layout, Layouts
from groot_ros.families.gr00t_n1d6.program import StagedModel
from groot_ros.families.gr00t_n1d6.staged_backbone import Vision
from groot_ros.families.gr00t_n1d6.staged_head import Context, make_denoise
from groot_ros.layers.patches import to_cell_patches
from groot_ros.layers.staged import Language
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTables
from groot_ros.runtime.program_engine import SegmentRunner

CPU = torch.device("cpu")
_NOTHING = torch.empty(0)
_NO_TABLES = TimeTables(*[_NOTHING] * len(TimeTables.__dataclass_fields__))


def backbone_rows(
    backbone: EagleBackbone,
    select_layer: int,
    input_ids: Tensor,
    attention_mask: Tensor,
    images: Sequence[Tensor],
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row and its features [S, D] without padding; takes the weights over."""
    eagle, model = backbone.model.config, backbone.model
    config = Gr00tN1d6Config(eagle=eagle, select_layer=select_layer)
    layouts = Layouts(config, model.text.embed_tokens, model.vision.embeddings, CPU, torch.float32)
    segments = {"vision": Vision(eagle, model), "language": Language(eagle.text, model.text)}
    program = _program(config, segments)
    cell = eagle.vision.patch_size * eagle.shuffle
    rest = list(images)
    for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
        ids = ids[mask == 1]
        missing, own = int((ids == eagle.image_token_index).sum()), []
        while missing > 0:
            own.append(rest.pop(0))
            missing -= own[-1].shape[2] * own[-1].shape[3] // cell**2
        layout = layouts.of_images(ids.numpy(), [(x.shape[2], x.shape[3]) for x in own])
        yield row, _features(program, layout, own)[0]


def denoised(
    config: Gr00tN1d6Config,
    weights: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    steps: int,
) -> Tensor:
    """Return actions [B, H, A] of a head; it sees padding where the reference head does."""
    rows = []
    for row, embodiment in enumerate(inputs["embodiment_id"].tolist()):
        head = ActionHead(config).eval()
        head.load_state_dict(weights)
        tables = TimeEmbeddings(head, embodiment).tables(steps, CPU, torch.float32)
        context = Context(config, head, embodiment)
        denoise = make_denoise(config, head, embodiment)
        program = _program(config, {"context": context, "denoise": denoise})
        valid, is_image = (inputs[name][row] for name in ("attention_mask", "image_mask"))
        groups = (valid & ~is_image, valid & is_image)
        if not config.use_alternate_vl_dit:
            groups = (torch.ones_like(valid),)
        indexes = tuple(group.nonzero()[:, 0] for group in groups)
        layout = Layout(Prompt(*[_NOTHING] * 4), (), None, indexes)
        one = slice(row, row + 1)
        rows.append(_actions(program, layout, tables, inputs["vl_features"][one], inputs, row))
    return torch.cat(rows)


def inferred(
    program: StagedModel,
    inputs: Mapping[str, Tensor],
    row: int,
    images: Sequence[Tensor],
    steps: int,
) -> Tensor:
    """Return actions [1, H, A] of one row of a whole model's inputs, from its pixels on."""
    ids = inputs["input_ids"][row][inputs["attention_mask"][row] == 1]
    layout = program.prompts.of_images(ids.numpy(), [(x.shape[2], x.shape[3]) for x in images])
    features = _features(program, layout, images)
    return _actions(program, layout, program.tables.of(steps), features, inputs, row)


def _program(config: Gr00tN1d6Config, segments: Mapping[str, nn.Module]) -> StagedModel:
    # Layouts and tables are given to `bound` here, so the caches that `bind` uses are not needed.
    return StagedModel(config, CPU, torch.float32, prompts=None, tables=None, modules=segments)


def _features(program: StagedModel, layout: Layout, images: Sequence[Tensor]) -> Tensor:
    """Return features [1, S, D] of images [1, 3, h, w] that are already normalised."""
    eagle = program.config.eagle
    tokens = []
    for batch in layout.batches:
        pixels = torch.cat([images[view] for view in batch.views])
        patches = to_cell_patches(pixels, eagle.vision.patch_size, eagle.shuffle)
        tokens.append(program.modules["vision"](patches, *batch.grid.inputs))
    constants = program.bound(layout, _NO_TABLES, {}).constants
    given = program.arguments("language", 0, {**constants, "image_tokens": tokens})
    return program.modules["language"](*given)


def _actions(
    program: StagedModel,
    layout: Layout,
    tables: TimeTables,
    features: Tensor,
    inputs: Mapping[str, Tensor],
    row: int,
) -> Tensor:
    """Return actions [1, H, A] of one row, with plain sampling."""
    noise, state = (inputs[name][row : row + 1] for name in ("init_noise", "state"))
    zeros, ones = torch.zeros_like(noise), torch.ones_like(noise)
    observed = {
        "state": state,
        "noise": noise,
        "prefix": zeros,
        "start": zeros,
        "weight": zeros,
        "strength": ones,
        "clean": zeros[..., 0],
    }
    head = next(stage for stage in program.spec.stages if stage.name == "head")
    absent = {name: _absent for name in program.spec.names if name not in program.modules}
    binding = program.bound(layout, tables, observed)
    results = SegmentRunner(program, absent).run(head, binding, {"features": features})
    return results["next_actions"]


def _absent(*_: Tensor) -> Tensor:
    raise AssertionError("this segment is not part of the set")
