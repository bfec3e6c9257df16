# SPDX-License-Identifier: Apache-2.0
"""Shift of a simulated camera, found although the arm has another pose and the light has changed.

    python -m benchmarks camera_shift [--scenes 20] [--picture docs/images/camera_shift.png]

Each scene of the SO-101, the UR5e and the two arms is rendered with the arm at home, then with the
arm anywhere (each joint up to 0.7 rad from home) and the lamps 20 % brighter or darker. In between
the camera is turned so that the background moves in the middle of the picture, or the picture is
translated. The direction is random; all pictures get the noise of a sensor (2 grey levels).
A camera is reported beyond the default of max_camera_shift.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groot_ros.core import PolicyConfig
from groot_ros.core.share import robot_path
from groot_ros.evaluation.table import format_table
from groot_ros.robot import load_contract
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.model import model_of
from groot_ros.vision.camera_check import CameraResult, CameraStatus, check_camera, overlay
from groot_ros.vision.camera_reference import CameraReference

#: Robot and its fixed camera.
CAMERAS = (("so101", "front"), ("ur5e_robotiq", "front"), ("bimanual", "head"))
WIDTH, HEIGHT = 640, 480
#: px by which the background moves: found within TOLERANCE, or not reported.
SHIFT, SMALL_SHIFTS, TOLERANCE = 8.0, (0.0, 2.0), 1.5
LIMIT = PolicyConfig().max_camera_shift
_NOISE = 2.0
#: The pictures are rendered with a margin from which translated ones are cut.
_MARGIN = 16

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A reference, a later picture, and the motion of the background between them, px."""

    reference: Picture
    picture: Picture
    shift: tuple[float, float]

    def result(self, camera: str = "camera") -> CameraResult:
        """Return what the check says."""
        saved = CameraReference(camera, self.reference, {}, 0, "rgb8", "")
        return check_camera(saved, self.picture, LIMIT, {})

    def error(self, result: CameraResult) -> float:
        """Return the distance of the shift that was found from the true one, px."""
        dx, dy = result.shift.dx - self.shift[0], result.shift.dy - self.shift[1]
        return math.hypot(dx, dy)


def scenes(
    robot: str, camera: str, count: int, shifts: tuple[float, float], *, turned: bool, seed: int = 0
) -> Iterator[Scene]:
    """Yield scenes; the background moves by a length in `shifts`, in any direction.

    Args:
        robot: name of a shipped robot.
        camera: view of its contract.
        count: number of scenes.
        shifts: smallest and largest, px.
        turned: whether the camera is turned, or the picture translated by whole pixels.
        seed: of poses, directions, light and noise.

    """
    contract = load_contract(robot_path(robot))
    arm = SimulatedArm(0.004, model_of(contract))
    model, rng = arm.model, np.random.default_rng(seed)
    index = model.camera(camera).id
    straight = model.cam_quat[index].copy()
    lamps = (model.light_diffuse, model.vis.headlight.ambient, model.vis.headlight.diffuse)
    light = [lamp.copy() for lamp in lamps]
    margin = 0 if turned else _MARGIN
    width, height = WIDTH + 2 * margin, HEIGHT + 2 * margin
    focal_length = height / 2 / math.tan(math.radians(model.cam_fovy[index]) / 2)
    with CameraRenderer(model, width, height) as renderer:
        for _ in range(count):
            angle, length = rng.uniform(0.0, 2 * math.pi), rng.uniform(*shifts)
            dx, dy = length * math.cos(angle), length * math.sin(angle)
            if not turned:
                dx, dy = float(round(dx)), float(round(dy))
            arm.reset(cubes=arm.scattered_cubes(rng))
            reference = renderer.render(arm.scene, camera)
            arm.place_joints(arm.home + rng.uniform(-0.7, 0.7, len(arm.home)))
            brightness = 1.0 + 0.2 * rng.choice((-1, 1))
            for lamp, usual in zip(lamps, light, strict=True):
                lamp[:] = usual * brightness
            if turned:
                model.cam_quat[index] = _turned(straight, dx / focal_length, dy / focal_length)
            picture = renderer.render(arm.scene, camera)
            model.cam_quat[index] = straight
            for lamp, usual in zip(lamps, light, strict=True):
                lamp[:] = usual
            yield Scene(
                _noisy(_cut(reference, margin, 0, 0), rng),
                _noisy(_cut(picture, margin, round(dx), round(dy)), rng),
                (dx, dy),
            )


def _turned(straight: NDArray[np.float64], right: float, down: float) -> NDArray[np.float64]:
    """Turn a camera so that what it shows moves by these tangents, to the left and up itself."""
    halves = math.atan(right) / 2, math.atan(down) / 2
    about_y = np.array([math.cos(halves[0]), 0.0, math.sin(halves[0]), 0.0])
    about_x = np.array([math.cos(halves[1]), math.sin(halves[1]), 0.0, 0.0])
    once, both = np.zeros(4), np.zeros(4)
    mujoco.mju_mulQuat(once, straight, about_y)
    mujoco.mju_mulQuat(both, once, about_x)
    return both


def _cut(picture: Picture, margin: int, dx: int, dy: int) -> Picture:
    """Cut the middle out of a picture so that its contents move by (dx, dy)."""
    if not margin:
        return picture
    rows = slice(margin - dy, margin - dy + HEIGHT)
    return picture[rows, margin - dx : margin - dx + WIDTH]


def _noisy(picture: Picture, rng: np.random.Generator) -> Picture:
    levels = picture + rng.normal(0.0, _NOISE, picture.shape)
    return np.clip(levels, 0, 255).astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.camera_shift", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--scenes", type=int, default=20, help="of each kind (%(default)s)")
    parser.add_argument("--picture", type=Path, help="only write the overlay of one scene")
    options = parser.parse_args(arguments)
    if options.picture is not None:
        scene = next(scenes("so101", "front", 1, (SHIFT, SHIFT), turned=True))
        drawn = overlay(scene.reference, scene.picture, scene.result("front"))
        Image.fromarray(drawn).save(options.picture)
        print(f"wrote {options.picture}")
        return
    header = [
        "camera",
        "shift",
        "by",
        f"within {TOLERANCE:g} px",
        "moved",
        "cannot tell",
        "worst error px",
    ]
    rows = []
    for robot, camera in CAMERAS:
        for shifts in ((SHIFT, SHIFT), SMALL_SHIFTS):
            for turned in (True, False):
                made = list(scenes(robot, camera, options.scenes, shifts, turned=turned))
                results = [scene.result() for scene in made]
                errors = [scene.error(r) for scene, r in zip(made, results, strict=True)]
                near = sum(error <= TOLERANCE for error in errors)
                moved = sum(r.status is CameraStatus.MOVED for r in results)
                unclear = sum(r.status is CameraStatus.UNCLEAR for r in results)
                label = f"{SHIFT:g} px" if shifts[0] else f"below {SMALL_SHIFTS[1]:g} px"
                rows.append(
                    [
                        f"{robot} {camera}",
                        label,
                        "turning" if turned else "translation",
                        f"{near} of {len(made)}",
                        f"{moved} of {len(made)}",
                        f"{unclear} of {len(made)}",
                        f"{np.nanmax(errors):.2f}",
                    ]
                )
    print(format_table(header, rows))
    print(
        f"target: {SHIFT:g} px found within {TOLERANCE:g} px in all, none reported below "
        f"{SMALL_SHIFTS[1]:g} px (limit {LIMIT:g} px)"
    )


if __name__ == "__main__":
    main()
