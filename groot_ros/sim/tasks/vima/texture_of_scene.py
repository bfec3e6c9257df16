# SPDX-License-Identifier: Apache-2.0
"""Put the object that has a texture in the picture of a scene into the container of a picture."""

import numpy as np

from groot_ros.sim.prompt_objects import (
    SHAPES,
    TEXTURES,
    Level,
    choose_item,
    items,
)
from groot_ros.sim.prompt_scene import Move, PromptScene, draw_places, make_scene, single
from groot_ros.sim.prompt_task import PromptTask, named_container, named_object

#: Share of the scenes with a second object of the texture, which the picture does not show.
_SAME_TEXTURE = 0.5


class TextureOfSceneTask(PromptTask):
    """The words give the texture, and the picture of the scene the shape.

    The picture shows the object and another one of a different texture, at other places than on
    the table. In half of the scenes another shape has the same texture on the table, so that the
    texture alone does not tell which object is meant.
    """

    instructions = tuple(
        f"put the {texture} object of {{scene}} into the {{base_obj}}" for texture in TEXTURES
    )

    def draw(self, rng: np.random.Generator, level: Level) -> PromptScene | None:
        """Draw a scene."""
        dragged = named_object(rng, level)
        chosen = {"dragged_obj": dragged, "base_obj": named_container(rng, level)}
        seen = items(SHAPES, held_out=False)
        other = [item for item in seen if item.texture != dragged.texture]
        chosen["scene_obj"] = choose_item(rng, other, chosen.values())
        if rng.random() < _SAME_TEXTURE:
            alike = [
                item
                for item in seen
                if item.texture == dragged.texture and item.shape != dragged.shape
            ]
            chosen["distractor_1"] = choose_item(rng, alike, chosen.values())
        shown = {name: chosen[name] for name in ("dragged_obj", "scene_obj")}
        places, picture = draw_places(rng, chosen), draw_places(rng, shown)
        if places is None or picture is None:
            return None
        return make_scene(
            rng,
            text=self.instructions[TEXTURES.index(dragged.texture)],
            level=level,
            items=chosen,
            places=places,
            pictures={"scene": picture, "base_obj": single(rng, "base_obj")},
            moves=[Move("dragged_obj", into="base_obj")],
        )


TASK = TextureOfSceneTask()
