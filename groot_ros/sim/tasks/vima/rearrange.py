# SPDX-License-Identifier: Apache-2.0
"""Move two objects to where they are in the picture of a scene."""

import numpy as np

from groot_ros.sim.prompt_objects import SHAPES, Level
from groot_ros.sim.prompt_scene import Move, PromptScene, draw_places, make_scene
from groot_ros.sim.prompt_task import PromptTask, add_distractors, named_object

_TEXT = "rearrange to this {scene}"


class RearrangeTask(PromptTask):
    """Two moves in any order; the picture shows the two objects only, turned as on the table.

    There is at most one other object. The expert moves first what goes farthest to the left.
    """

    instructions = (_TEXT,)

    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene in which the goals are free."""
        first = named_object(rng, level)
        named = {"scene_obj_1": first, "scene_obj_2": named_object(rng, level, [first])}
        items = add_distractors(rng, named, (0, 1), SHAPES)
        places = draw_places(rng, items)
        if places is None:
            return None
        goals = draw_places(rng, named, occupied=[(places[name], items[name]) for name in items])
        if goals is None:
            return None
        picture = {name: (*goals[name][:2], places[name][2]) for name in named}
        from_left = sorted(named, key=lambda name: -picture[name][1])
        return make_scene(
            rng,
            text=_TEXT,
            level=level,
            items=items,
            places=places,
            pictures={"scene": picture},
            moves=[Move(name, to=picture[name][:2]) for name in from_left],
        )


TASK = RearrangeTask()
