"""What there is to do: hold the hand over the cube that the instruction names."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.scene import CUBE_HALF_SIZE, CUBES

GO_HOME = "go home"
#: Everything that the expert understands.
INSTRUCTIONS = (*(f"touch the {colour} cube" for colour in CUBES), GO_HOME)
#: Height of the hand's grasp point above a cube's top, m.
TOUCH_HEIGHT = 0.025
#: Colour -> (distance from the pan axis in m, pan angle in rad): far apart in both.
_PLACES = {"red": (0.155, 0.70), "green": (0.28, 0.0), "blue": (0.225, -0.70)}


def instructed_cube(instruction: str) -> str | None:
    """The colour to touch, None for going home; case and punctuation do not matter.

    Raises:
        ValueError: for any other instruction, naming those that there are.

    """
    words = "".join(c for c in instruction.lower() if c.isalnum() or c.isspace())
    words = " ".join(words.split())
    if words not in INSTRUCTIONS:
        raise ValueError(f"'{instruction}' is none of: {', '.join(INSTRUCTIONS)}")
    return None if words == GO_HOME else words.split()[2]


def place_cubes(
    rng: np.random.Generator | None = None, jitter: float = 0.01
) -> dict[str, tuple[float, float, float]]:
    """Colour -> (x, y, yaw) in m and rad, each coordinate up to `jitter` off its usual place."""
    places = {}
    for colour, (distance, pan) in _PLACES.items():
        dx, dy = (0.0, 0.0) if rng is None else rng.uniform(-jitter, jitter, 2)
        places[colour] = (distance * np.cos(pan) + dx, distance * np.sin(pan) + dy, 0.0)
    return places


def touch_point(cube: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] m, where the grasp point belongs above the cube with this centre."""
    return cube + np.array([0.0, 0.0, CUBE_HALF_SIZE + TOUCH_HEIGHT])


def distance_to_cube(
    grasp_point: NDArray[np.float64], cubes: Mapping[str, NDArray[np.float64]], colour: str
) -> float:
    """From the grasp point to the middle of the cube's top, m; `TOUCH_HEIGHT` when it is done."""
    top = cubes[colour] + np.array([0.0, 0.0, CUBE_HALF_SIZE])
    return float(np.linalg.norm(grasp_point - top))
