# SPDX-License-Identifier: Apache-2.0
"""The staged model of GR00T N1.5 on golden inputs, one observation at a time."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from groot_ros.core.program import Binding
from groot_ros.families.gr00t.prompts import Prompt, Prompts
from groot_ros.families.gr00t_n1d5.action_head import ActionHead
from groot_ros.families.gr00t_n1d5.backbone import EagleBackbone
from groot_ros.families.gr00t_n1d5.config import BackboneConfig, Gr00tN1d5Config, HeadConfig
from groot_ros.families.gr00t_n1d5.program import StagedModel
from groot_ros.families.gr00t_n1d5.staged import Context, Vision, make_denoise
from groot_ros.layers.staged import Language
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTables
from groot_ros.runtime.program_engine import SegmentRunner

CPU = torch.device("cpu")
_NOTHING = torch.empty(0)
_NO_PROMPT = Prompt(*[_NOTHING] * len(Prompt.__dataclass_fields__))


def backbone_rows(
    model: EagleBackbone, config: BackboneConfig, ids: Tensor, mask: Tensor, tiles: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row and its features [S, D] without padding; takes the weights over."""
    eagle = model.eagle_model
    whole = Gr00tN1d5Config(eagle.config, config)
    prompts = Prompts(whole.eagle, eagle.text.embed_tokens, CPU, torch.float32)
    linear = None if config.project_to_dim is None else model.eagle_linear
    vision = Vision(eagle.config, eagle)
    modules = {"vision": vision, "language": Language(eagle.config.text, eagle.text, linear)}
    program = StagedModel(whole, CPU, torch.float32, prompts, None, modules)
    start = 0
    for row in range(len(ids)):
        own = ids[row][mask[row] == 1]
        images = int((own == eagle.config.image_token_index).sum())
        end = start + images // eagle.config.tile_tokens
        yield row, features_of(program, own, tiles[start:end])[0]
        start = end


def features_of(program: StagedModel, ids: Tensor, tiles: Tensor) -> Tensor:
    """Return features [1, S, D] of normalised tiles [n, 3, S, S]."""
    # `arguments` normalises bytes, so the tiles of a set are given as if they were bytes.
    prompt = vars(program.prompts.of(ids.numpy()))
    tensors = {"text_embeddings": prompt["embeddings"], **prompt, "tiles": tiles * 127.5 + 127.5}
    tokens = program.modules["vision"](*program.arguments("vision", 0, tensors))
    given = program.arguments("language", 0, {**tensors, "image_tokens": tokens})
    return program.modules["language"](*given)


def denoised(
    config: HeadConfig,
    weights: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    features: Tensor,
) -> Tensor:
    """Return actions [B, H, action_dim] of a head from features [B, S, C]."""
    rows = []
    for row, embodiment in enumerate(inputs["embodiment_id"].tolist()):
        head = ActionHead(config).eval().requires_grad_(False)
        head.load_state_dict(weights)
        steps = config.num_inference_timesteps
        tables = TimeEmbeddings(head, embodiment).tables(steps, CPU, torch.float32)
        modules = {
            "context": Context(config, head, embodiment),
            "denoise": make_denoise(config, head, embodiment),
        }
        width = features.shape[-1]
        whole = Gr00tN1d5Config(backbone=BackboneConfig(1, width), head=config)
        program = StagedModel(whole, CPU, torch.float32, None, None, modules)
        one = slice(row, row + 1)
        rows.append(_actions(program, tables, features[one], inputs, one))
    return torch.cat(rows)


def inferred(
    program: StagedModel, inputs: Mapping[str, Tensor], row: int, tiles: Tensor, steps: int
) -> Tensor:
    """Return actions [1, H, action_dim] of one row of a whole model's inputs, from its tiles on."""
    ids = inputs["eagle_input_ids"][row][inputs["eagle_attention_mask"][row] == 1]
    features = features_of(program, ids, tiles)
    one = slice(row, row + 1)
    return _actions(program, program.tables.of(steps), features, inputs, one)


def _actions(
    program: StagedModel,
    tables: TimeTables,
    features: Tensor,
    inputs: Mapping[str, Tensor],
    row: slice,
) -> Tensor:
    """Return actions of one row, with plain sampling."""
    noise = inputs["init_noise"][row, :, : program.config.head.action_dim]
    zeros = torch.zeros_like(noise)
    observed = {
        "state": inputs["state"][row],
        "noise": noise,
        "prefix": zeros,
        "start": zeros,
        "weight": zeros,
        "strength": torch.ones_like(noise),
        "clean": zeros[..., 0],
    }
    head = next(stage for stage in program.spec.stages if stage.name == "head")
    absent = {name: _absent for name in program.spec.names if name not in program.modules}
    binding: Binding = program.bound(_NO_PROMPT, tables, observed)
    return SegmentRunner(program, absent).run(head, binding, {"features": features})["next_actions"]


def _absent(*_: Tensor) -> Tensor:
    raise AssertionError("this segment is not part of the set")
