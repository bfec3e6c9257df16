"""The exact fast form on golden inputs: stage by stage, one observation at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d6.config import EagleConfig
from groot_ros.families.gr00t_n1d6.time_tables import TimeTables, TimeTower
from groot_ros.models.gr00t_n1d6 import ActionHead, Conditioning, Gr00tN1d6Config
from groot_ros.runtime.gr00t_n1d6 import (
    Context,
    Denoise,
    Language,
    Layout,
    Layouts,
    StagedModel,
    Stages,
    Vision,
    run_backbone,
    run_head,
    to_cell_patches,
)

CPU = torch.device("cpu")


def patches_of(images: Sequence[Tensor], layout: Layout, config: EagleConfig) -> list[Tensor]:
    """Normalised images [1, 3, h, w] to what stage "vision" takes."""
    patch = config.vision.patch_size
    return [
        to_cell_patches(torch.cat([images[view] for view in batch.views]), patch, config.shuffle)
        for batch in layout.batches
    ]


def backbone_rows(
    plain: EagleBackbone,
    layers: int,
    input_ids: Tensor,
    attention_mask: Tensor,
    images: Sequence[Tensor],
) -> Iterator[tuple[int, Tensor]]:
    """Row and features [S, D] without padding; takes the weights of `plain` over."""
    eagle, model = plain.model.config, plain.model
    config = Gr00tN1d6Config(eagle=eagle, select_layer=layers)
    layouts = Layouts(config, model.text.embed_tokens, model.vision.embeddings, CPU, torch.float32)
    vision, language = Vision(eagle, model), Language(eagle.text, model.text)
    stages = Stages(vision.eval(), language.eval(), _absent, _absent)
    cell = eagle.vision.patch_size * eagle.shuffle
    rest = list(images)
    for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
        ids = ids[mask == 1]
        wanted, own = int((ids == eagle.image_token_index).sum()), []
        while wanted > 0:
            own.append(rest.pop(0))
            wanted -= own[-1].shape[2] * own[-1].shape[3] // cell**2
        layout = layouts.of(ids.numpy(), [(x.shape[2], x.shape[3]) for x in own])
        yield row, run_backbone(stages, layout, patches_of(own, layout, eagle))[0]


def denoised(
    config: Gr00tN1d6Config,
    weights: dict[str, Tensor],
    inputs: dict[str, Tensor],
    steps: int,
) -> Tensor:
    """Actions [B, H, A] of a head; where the plain one sees padding, so does this one."""
    rows = []
    for row, embodiment in enumerate(inputs["embodiment_id"].tolist()):
        head = ActionHead(config).eval()
        head.load_state_dict(weights)
        tables = TimeTower(head, embodiment).tables(steps, CPU, torch.float32)
        stages = Stages(
            _absent,
            _absent,
            Context(config, head, embodiment).eval(),
            Denoise(config, head, embodiment).eval(),
        )
        valid, is_image = (inputs[name][row] for name in ("attention_mask", "image_mask"))
        groups = (valid & ~is_image, valid & is_image)
        if not config.use_alternate_vl_dit:
            groups = (torch.ones_like(valid),)
        one = slice(row, row + 1)
        rows.append(
            run_head(
                stages,
                _indexes_alone([group.nonzero()[:, 0] for group in groups]),
                tables,
                inputs["vl_features"][one],
                inputs["state"][one],
                inputs["init_noise"][one],
                Conditioning.none(1, *inputs["init_noise"].shape[1:], CPU),
            )
        )
    return torch.cat(rows)


def inferred(
    fast: StagedModel, inputs: dict[str, Tensor], row: int, images: Sequence[Tensor], steps: int
) -> Tensor:
    """Actions [1, H, A] of one row of a whole model's inputs, from its pixels on."""
    config, one = fast.host.config, slice(row, row + 1)
    ids = inputs["input_ids"][row][inputs["attention_mask"][row] == 1]
    layout = fast.host.layouts.of(ids.numpy(), [(x.shape[2], x.shape[3]) for x in images])
    features = run_backbone(fast.stages, layout, patches_of(images, layout, config.eagle))
    noise = inputs["init_noise"][one]
    nothing = Conditioning.none(1, *noise.shape[1:], CPU)
    tables: TimeTables = fast.host.tables.of(steps)
    return run_head(fast.stages, layout, tables, features, inputs["state"][one], noise, nothing)


def _indexes_alone(indexes: Sequence[Tensor]) -> Layout:
    nothing = torch.empty(0)
    return Layout((), None, nothing, nothing, tuple(indexes), nothing, nothing)


def _absent(*_: Tensor) -> Tensor:
    raise AssertionError("this stage is not part of the set")
