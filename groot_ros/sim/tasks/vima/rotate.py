# SPDX-License-Identifier: Apache-2.0
"""Turn the object of a picture by an angle where it lies."""

import numpy as np

from groot_ros.sim.prompt_objects import SHAPES, Level
from groot_ros.sim.prompt_scene import Move, PromptScene, draw_places, make_scene, single
from groot_ros.sim.prompt_task import PromptTask, add_distractors, named_object

#: Angles in degrees, counterclockwise seen from above.
ANGLES = (30, 60, 90, 120, 150)

#: A turn of the round object would not be seen.
_TURNABLE = tuple(shape for shape in SHAPES if shape != "round")


class RotateTask(PromptTask):
    """One turn, among one to three distractors."""

    instructions = tuple(f"rotate the {{dragged_obj}} {angle} degrees" for angle in ANGLES)

    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene."""
        angle = int(rng.integers(len(ANGLES)))
        named = named_object(rng, level, shapes=_TURNABLE)
        items = add_distractors(rng, {"dragged_obj": named}, (1, 3))
        places = draw_places(rng, items)
        if places is None:
            return None
        return make_scene(
            rng,
            text=self.instructions[angle],
            level=level,
            items=items,
            places=places,
            pictures={"dragged_obj": single(rng, "dragged_obj")},
            moves=[Move("dragged_obj", turn=float(np.deg2rad(ANGLES[angle])))],
        )


TASK = RotateTask()
