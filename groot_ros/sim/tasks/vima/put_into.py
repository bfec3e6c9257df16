# SPDX-License-Identifier: Apache-2.0
"""Put the object of a picture into the container of a picture."""

import numpy as np

from groot_ros.sim.prompt_objects import Level
from groot_ros.sim.prompt_scene import Move, PromptScene, draw_places, make_scene, single
from groot_ros.sim.prompt_task import (
    PromptTask,
    add_distractors,
    named_container,
    named_object,
)

_TEXT = "put the {dragged_obj} into the {base_obj}"


class PutIntoTask(PromptTask):
    """One move among one or two distractors, which can be objects or containers."""

    instructions = (_TEXT,)

    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene."""
        named = {
            "dragged_obj": named_object(rng, level),
            "base_obj": named_container(rng, level),
        }
        items = add_distractors(rng, named, (1, 2))
        places = draw_places(rng, items)
        if places is None:
            return None
        return make_scene(
            rng,
            text=_TEXT,
            level=level,
            items=items,
            places=places,
            pictures={name: single(rng, name) for name in named},
            moves=[Move("dragged_obj", into="base_obj")],
        )


TASK = PutIntoTask()
