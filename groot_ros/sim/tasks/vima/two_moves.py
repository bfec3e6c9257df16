# SPDX-License-Identifier: Apache-2.0
"""Put the object of a picture into a container, and then into another one or back."""

import numpy as np

from groot_ros.sim.prompt_objects import Level
from groot_ros.sim.prompt_scene import Move, PromptScene, draw_places, make_scene, single
from groot_ros.sim.prompt_task import (
    PromptTask,
    add_distractors,
    named_container,
    named_object,
)

_ON = "put the {dragged_obj} into the {base_obj_1} then into the {base_obj_2}"
_BACK = "put the {dragged_obj} into the {base_obj_1} then put it back"


class TwoMovesTask(PromptTask):
    """Two moves in the order of the prompt.

    In half of the scenes the object goes back to where it was, which nothing shows any more after
    the first move: a policy has to remember it.
    """

    instructions = (_ON, _BACK)

    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene with the object, two containers and at most one distractor."""
        goes_back = bool(rng.random() < 0.5)
        chosen = {
            "dragged_obj": named_object(rng, level),
            "base_obj_1": named_container(rng, level),
        }
        chosen["base_obj_2"] = named_container(rng, level, list(chosen.values()))
        items = add_distractors(rng, chosen, (0, 1))
        places = draw_places(rng, items)
        if places is None:
            return None
        named = ("dragged_obj", "base_obj_1") if goes_back else tuple(chosen)
        last = (
            Move("dragged_obj", to=places["dragged_obj"][:2])
            if goes_back
            else Move("dragged_obj", into="base_obj_2")
        )
        return make_scene(
            rng,
            text=_BACK if goes_back else _ON,
            level=level,
            items=items,
            places=places,
            pictures={name: single(rng, name) for name in named},
            moves=[Move("dragged_obj", into="base_obj_1"), last],
            in_order=True,
        )


TASK = TwoMovesTask()
