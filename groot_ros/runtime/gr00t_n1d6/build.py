"""The exact fast form, made from the plain model or read from a checkpoint."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6, Gr00tN1d6Config, load_model
from groot_ros.runtime.gr00t_n1d6.context import Context
from groot_ros.runtime.gr00t_n1d6.denoise import Denoise
from groot_ros.runtime.gr00t_n1d6.language import Language
from groot_ros.runtime.gr00t_n1d6.layout import Layouts
from groot_ros.runtime.gr00t_n1d6.packed import can_pack, held_bytes, pack
from groot_ros.runtime.gr00t_n1d6.stages import Stages
from groot_ros.runtime.gr00t_n1d6.time_tables import TimeTableCache, TimeTower
from groot_ros.runtime.gr00t_n1d6.vision import Vision
from groot_ros.runtime.names import STAGES

_HEAD, _DIT = r"action_head\.", r"action_head\.model\."
_CROSS = r"transformer_blocks\.\d*[02468]\.attn1\.to_[kv]\..*"
_TIME = re.compile(
    _DIT + r"(timestep_encoder\..*|proj_out_1\..*|transformer_blocks\.\d+\.norm1\.linear\..*)"
)
_ENCODER = re.compile(_HEAD + r"action_encoder\.W[12]\..*")
_TOKENS = re.compile(r"backbone\.model\.language_model\.model\.embed_tokens\..*")
_POSITIONS = re.compile(r".*\.embeddings\.position_embedding\..*")
_WEIGHTS = {
    "vision": re.compile(r"backbone\.model\.(vision_model|mlp1)\.(?!.*position_embedding).*"),
    "language": re.compile(r"backbone\.model\.language_model\.model\.(layers|norm)\..*"),
    "context": re.compile(_HEAD + rf"(vlln\..*|state_encoder\..*|model\.{_CROSS})"),
    "denoise": re.compile(
        _HEAD
        + r"(action_encoder\..*|action_decoder\..*|position_embedding\..*|model\.proj_out_2\..*"
        rf"|model\.(?!{_CROSS})transformer_blocks\.\d+\.(attn1|ff)\..*)"
    ),
}


@dataclass(frozen=True)
class Host:
    """What every engine needs beside the stages.

    Attributes:
        config: of the checkpoint.
        device, dtype: of the tensors that the stages take.
        layouts: by instruction and image sizes.
        tables: by number of denoising steps.

    """

    config: Gr00tN1d6Config
    device: torch.device
    dtype: torch.dtype
    layouts: Layouts
    tables: TimeTableCache

    @property
    def nbytes(self) -> int:
        """Memory on the device: tables, and on the CPU the token embeddings too."""
        on_cpu = self.device.type == "cpu"
        return self.tables.nbytes + (self.layouts.nbytes if on_cpu else 0)


@dataclass(frozen=True)
class StagedModel:
    """The four stages as PyTorch modules; those that were not asked for are None."""

    host: Host
    vision: Vision | None = None
    language: Language | None = None
    context: Context | None = None
    denoise: Denoise | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The stages that are there, by name."""
        found = {name: getattr(self, name) for name in STAGES}
        return {name: module for name, module in found.items() if module is not None}

    @property
    def stages(self) -> Stages:
        """All four; raises ValueError where one was not built."""
        missing = [name for name in STAGES if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the model was built without stage '{missing[0]}'")
        return Stages(**self.modules)

    @property
    def nbytes(self) -> int:
        """Memory on the device: weights of the stages and what the host keeps there."""
        return sum(map(held_bytes, self.modules.values())) + self.host.nbytes

    def pack(self) -> "StagedModel":
        """Reorder the weights for the CPU's kernels where that is possible; returns itself."""
        if can_pack(self.host.device):
            for module in self.modules.values():
                pack(module)
        return self


def make_fast(
    plain: Gr00tN1d6, *, embodiment: int = 0, step_counts: Collection[int] = ()
) -> StagedModel:
    """Take the weights of a plain model over; it cannot run any more.

    The weights of the time stay where they are, out of the stages.

    Args:
        plain: on its device, in its precision; on "meta" what comes out can be counted, not run.
        embodiment: row of the category-specific weights.
        step_counts: numbers of denoising steps whose tables are made now.

    """
    device, dtype = plain.device, plain.action_head.dtype
    tower = TimeTower(plain.action_head, embodiment)
    tables = TimeTableCache(lambda: tower, device, dtype)
    tables.compute(step_counts)
    eagle = plain.backbone.model
    tokens, embeddings = eagle.text.embed_tokens, eagle.vision.embeddings
    if device.type != "meta":
        tokens.cpu()
        embeddings.position_embedding.cpu()
    layouts = Layouts(plain.config, tokens, embeddings, device, dtype)
    return _assemble(plain, Host(plain.config, device, dtype, layouts, tables), embodiment, STAGES)


def load_fast(
    directory: Path,
    config: Gr00tN1d6Config,
    *,
    embodiment: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    stages: Collection[str] = STAGES,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
) -> StagedModel:
    """The fast form of a checkpoint; the weights of stages not asked for are never read.

    The weights of the time are read, used and dropped before the others come; another number of
    steps reads them again. Token embeddings stay on the host.

    Args:
        directory: with model.safetensors, or shards and their index.
        config: from `load_config`.
        embodiment: row of the category-specific weights.
        device: where the stages go.
        dtype: of the weights.
        stages: to build.
        step_counts: numbers of denoising steps whose tables are made now.
        progress: called with the fraction of the stages' bytes read so far.

    Raises:
        CheckpointError: see `load_model`.

    """
    read = partial(load_model, directory, config, embodiment=embodiment, dtype=dtype)
    device = torch.device(device)

    def tower() -> TimeTower:
        return TimeTower(read(only=_fits(_TIME, _ENCODER)).action_head, 0)

    tables = TimeTableCache(tower, device, dtype)
    tables.compute(step_counts)
    kept = read(only=_fits(_TOKENS, _POSITIONS)).backbone.model
    layouts = Layouts(config, kept.text.embed_tokens, kept.vision.embeddings, device, dtype)
    parts = [pattern for stage, pattern in _WEIGHTS.items() if stage in stages]
    plain = read(only=_fits(*parts), device=device, progress=progress)
    return _assemble(plain, Host(config, device, dtype, layouts, tables), 0, stages)


def _fits(*patterns: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


@torch.no_grad()
def _assemble(
    plain: Gr00tN1d6, host: Host, embodiment: int, stages: Collection[str]
) -> StagedModel:
    config, eagle, head = plain.config, plain.backbone.model, plain.action_head
    fast = StagedModel(
        host,
        vision=Vision(config.eagle, eagle) if "vision" in stages else None,
        language=Language(config.eagle.text, eagle.text) if "language" in stages else None,
        context=Context(config, head, embodiment) if "context" in stages else None,
        denoise=Denoise(config, head, embodiment) if "denoise" in stages else None,
    )
    for module in fast.modules.values():
        module.requires_grad_(False).eval()
    return fast
