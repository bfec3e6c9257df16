# SPDX-License-Identifier: Apache-2.0
"""VIMA as a model family; torch is imported only where it is needed."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.family import CheckpointSummary, EmbodimentSummary, WeightGroup
from groot_ros.families.vima.config import MODEL_TYPE, VimaConfig
from groot_ros.families.vima.family_training import VimaTraining

if TYPE_CHECKING:
    from groot_ros.families.vima.table_policy import VimaCheckpoint

#: Ending of the public checkpoints, each of which is one file.
_PUBLIC_FILE = ".ckpt"
#: First part of a tensor's name -> part of the network that `inspect` shows.
_PARTS = {
    "obj_encoder": "object encoder",
    "t5_prompt_encoder": "prompt encoder",
    "prompt_embedding": "word table",
}


class VimaFamily(VimaTraining):
    """See `families.family.Family`."""

    name = MODEL_TYPE
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE}, or a {_PUBLIC_FILE} file"

    def matches(self, path: Path) -> bool:
        """See `families.family.Family.matches`."""
        if path.suffix == _PUBLIC_FILE:
            return path.is_file()
        config = path / "config.json"
        if not config.is_file():
            return False
        try:
            return bool(Fields.read(config).get("model_type", "") == MODEL_TYPE)
        except CheckpointError:
            return False

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> "VimaCheckpoint":
        """See `families.family.Family.open`.

        Args:
            path: directory, or public file.
            embodiment: ignored, as VIMA has none.
            assets: tokenizer.json of T5 or its directory, for a public file.
            base: ignored.

        Raises:
            CheckpointError: a file is missing or malformed; one line that names it.

        """
        from groot_ros.families.vima.checkpoint import read_shapes
        from groot_ros.families.vima.table_policy import VimaCheckpoint, policy_spec

        found = find_checkpoint(path)
        config, _ = read_shapes(found)
        where = str(found / "config.json" if found.is_dir() else found)
        return VimaCheckpoint(found, config, _tokenizer(found, assets), policy_spec(config, where))

    def describe(
        self,
        path: Path,
        *,
        embodiment: str | None = None,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> CheckpointSummary:
        """See `families.family.Family.describe`."""
        from groot_ros.families.vima.checkpoint import read_shapes
        from groot_ros.families.vima.table_policy import EMBODIMENT, policy_spec

        found = find_checkpoint(path)
        config, shapes = read_shapes(found)
        notes: tuple[str, ...] = ()
        problem = ""
        try:
            notes = (f"the tokenizer is {_tokenizer(found, assets)}",)
        except CheckpointError as error:
            problem = f"still needed: {error}"
        where = str(found / "config.json" if found.is_dir() else found)
        return CheckpointSummary(
            path=found,
            model=MODEL_TYPE,
            architecture=_architecture(config),
            files=tuple(
                sorted(f.name for f in found.glob("*.safetensors"))
                if found.is_dir()
                else (found.name,)
            ),
            weights=_weight_groups(shapes),
            notes=notes,
            problem=problem,
            embodiments=(
                EmbodimentSummary(
                    EMBODIMENT,
                    (
                        f"any robot with a table; views {', '.join(config.views)} with labels of "
                        "their objects; prompts of words and pictures; actions are a pick and a "
                        "place pose",
                    ),
                    spec=policy_spec(config, where),
                ),
            ),
        )


def _tokenizer(checkpoint: Path, assets: str | Path | None) -> Path:
    """Return the tokenizer of a checkpoint."""
    given = checkpoint if assets is None else Path(assets).expanduser()
    file = given / "tokenizer.json" if given.is_dir() else given
    if assets is None and not checkpoint.is_dir():
        raise CheckpointError(
            f"{checkpoint}: the tokenizer of T5 is not in this file: give its tokenizer.json with "
            "backbone_assets (--backbone-assets)"
        )
    if not file.is_file():
        raise CheckpointError(
            f"{file}: no such file; give the tokenizer.json of T5 with backbone_assets "
            "(--backbone-assets)"
        )
    return file


def _architecture(config: VimaConfig) -> str:
    layers = config.xf_n_layers
    bins = " x ".join(str(n) for n in config.bins["pose0_position"])
    return (
        f"{layers} layer{'' if layers == 1 else 's'} of {config.embed_dim}, prompts of up to "
        f"{config.xattn_n_positions} and histories of up to {config.n_positions} tokens; "
        f"positions in {bins} bins"
    )


def _weight_groups(shapes: dict[str, tuple[int, ...]]) -> tuple[WeightGroup, ...]:
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        part = _PARTS.get(name.partition(".")[0], "controller")
        sizes[part] = sizes.get(part, 0) + prod(shape)
    # They are computed in float32, whatever their type in the file.
    return tuple(WeightGroup(part, n, 4 * n, ("float32",)) for part, n in sorted(sizes.items()))


FAMILY = VimaFamily()
