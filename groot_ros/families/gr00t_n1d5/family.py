# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 as a model family; torch is imported only where it is needed."""

from pathlib import Path

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t_n1d5.checkpoint import FAMILY as NAME
from groot_ros.families.gr00t_n1d5.checkpoint import Gr00tN1d5Checkpoint, open_checkpoint
from groot_ros.families.gr00t_n1d5.config import LEROBOT_TYPE, MODEL_TYPE


class Gr00tN1d5Family:
    """See `families.family.Family`."""

    name = NAME
    recognised_by = f"config.json with 'model_type' {MODEL_TYPE} or 'type' {LEROBOT_TYPE}"

    def matches(self, path: Path) -> bool:
        """See `families.family.Family.matches`."""
        config = path / "config.json"
        if not config.is_file():
            return False
        try:
            f = Fields.read(config)
        except CheckpointError:
            return False
        return f.get("model_type", "") == MODEL_TYPE or f.get("type", "") == LEROBOT_TYPE

    def open(
        self,
        path: Path,
        *,
        embodiment: str,
        assets: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Gr00tN1d5Checkpoint:
        """See `families.family.Family.open`; LeRobot's layout needs `base`."""
        return open_checkpoint(find_checkpoint(path), embodiment, assets, base)


FAMILY = Gr00tN1d5Family()
