# SPDX-License-Identifier: Apache-2.0
"""VIMA as a robot uses it: a checkpoint with its specification, and sessions from pictures."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.checkpoint.digest import checkpoint_digest, file_sample
from groot_ros.core.prompt import Pictures
from groot_ros.families.family import PickPlace, PickPlaceSession, PolicySpec
from groot_ros.families.vima.actions import TableBounds
from groot_ros.families.vima.assembly import assemble_prompt, find_scene
from groot_ros.families.vima.config import MODEL_TYPE, VimaConfig
from groot_ros.families.vima.policy import Session, VimaPolicy, load

if TYPE_CHECKING:
    import torch

#: VIMA has no embodiments; this one stands for any robot with a table.
EMBODIMENT = "table"
#: Steps of the chunks in which the motion of an action is sent. The network does not state it: long
#: enough that a chunk outlasts the pause until the next one at any usual rate.
STREAMED_STEPS = 32
#: Columns of a pose: x, y and z, and a quaternion.
_POSE_COLUMNS = 7


def policy_spec(config: VimaConfig, where: str) -> PolicySpec:
    """Return inputs and outputs of a checkpoint.

    Args:
        config: configuration of the checkpoint.
        where: file that it was read from.

    """
    return PolicySpec(
        family=MODEL_TYPE,
        embodiment=EMBODIMENT,
        views=config.views,
        image_history=(0,),
        state_history=(0,),
        state_groups={},
        action_groups={"pick": _POSE_COLUMNS, "place": _POSE_COLUMNS},
        action_space={"pick": "pose", "place": "pose"},
        horizon=STREAMED_STEPS,
        stateful=True,
        labels=True,
        pictures=True,
        action="pick_place",
        sources={"views": f"{where}: 'views'"},
    )


@dataclass(frozen=True)
class VimaCheckpoint:
    """See `families.family.PickPlaceCheckpoint`.

    Attributes:
        path: directory or public file.
        config: its configuration.
        tokenizer: tokenizer.json.
        spec: see the protocol.

    """

    path: Path
    config: VimaConfig
    tokenizer: Path
    spec: PolicySpec

    def digest(self) -> str:
        """See `families.family.PickPlaceCheckpoint.digest`."""
        if self.path.is_dir():
            return checkpoint_digest(self.path, {"tokenizer.json": self.tokenizer})
        parts = file_sample(self.path) + self.tokenizer.read_bytes()
        return hashlib.sha256(parts).hexdigest()

    def load(self, device: "torch.device") -> "VimaModel":
        """See `families.family.PickPlaceCheckpoint.load`."""
        return VimaModel(load(self.path, tokenizer=self.tokenizer, device=device))


class VimaModel:
    """See `families.family.PickPlaceModel`."""

    def __init__(self, policy: VimaPolicy) -> None:
        self._policy = policy
        self._side = policy.network.config.objects.vit_resolution
        tensors = policy.network.state_dict().values()
        self.memory_bytes = sum(tensor.nbytes for tensor in tensors)

    def session(
        self, text: str, pictures: Pictures, low: tuple[float, float], high: tuple[float, float]
    ) -> PickPlaceSession:
        """See `families.family.PickPlaceModel.session`."""
        views = self._policy.network.config.views
        prompt = assemble_prompt(text, pictures, views, self._side)
        return VimaSession(self._policy.session(prompt, TableBounds(low, high)), self._side)

    def warm_up(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """See `families.family.PickPlaceModel.warm_up`."""
        views = self._policy.network.config.views
        image = np.zeros((self._side, self._side, 3), np.uint8)
        labels = np.ones((self._side, self._side), np.uint16)
        session = self.session("", {}, low, high)
        session.step(dict.fromkeys(views, image), dict.fromkeys(views, labels), "suction")


class VimaSession:
    """See `families.family.PickPlaceSession`."""

    def __init__(self, session: Session, side: int) -> None:
        self._session, self._side = session, side

    def step(
        self,
        images: Mapping[str, NDArray[np.uint8]],
        labels: Mapping[str, NDArray[Any]],
        tool: str,
    ) -> PickPlace:
        """See `families.family.PickPlaceSession.step`."""
        return self._session.step(find_scene(images, labels, self._side), tool)

    def take_back(self) -> None:
        """See `families.family.PickPlaceSession.take_back`."""
        self._session.take_back()
