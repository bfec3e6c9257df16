# SPDX-License-Identifier: Apache-2.0
"""Compare a camera's picture with its reference: verdict, correction, and an overlay."""

import enum
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from groot_ros.core import MalformedError
from groot_ros.vision.camera_reference import CameraReference, pose_difference
from groot_ros.vision.camera_shift import Shift, measure_shift

#: rad or m: a camera on the arm is not compared if a joint is further from the saved pose.
POSE_TOLERANCE = 0.02
#: A rotation or zoom counts if it moves a corner by more than the limit, and by this share of the
#: shift: a turned camera also sees the scene in another perspective.
_PERSPECTIVE = 0.25


class CameraStatus(enum.IntEnum):
    """Result of a comparison; the numbers are those of CameraShift.msg."""

    NOT_COMPARED = 0
    OK = 1
    MOVED = 2
    UNCLEAR = 3


@dataclass(frozen=True)
class CameraResult:
    """Result for one camera.

    Attributes:
        camera: view of the robot contract.
        status: OK: within the limit. MOVED: beyond. UNCLEAR: the picture fits the reference too
            little to tell. NOT_COMPARED: there is nothing to compare.
        text: one line: what was found and how to correct it.
        shift: the measurement; its dx and dy are NaN unless the status is OK or MOVED.
        limit: px, up to which a shift is accepted.
        degrees: (right, down), by which the camera is to be turned; None without CameraInfo.

    """

    camera: str
    status: CameraStatus
    text: str
    shift: Shift = field(default_factory=Shift)
    limit: float = 0.0
    degrees: tuple[float, float] | None = None


def check_camera(
    reference: CameraReference,
    picture: NDArray[np.uint8],
    limit: float,
    joints: Mapping[str, float],
    carried_by: Collection[str] = (),
) -> CameraResult:
    """Compare a picture, uint8 RGB [H, W, 3], with the reference of its camera.

    Args:
        reference: what the camera showed.
        picture: what it shows now.
        limit: px, up to which a shift is accepted. For a camera on the arm, the shift that the
            differences of the joints from the saved pose can explain is added.
        joints: joint -> measured position, rad or m; only needed for a camera on the arm.
        carried_by: joints that move the camera; empty for a fixed camera.

    """
    name = reference.camera
    width = reference.picture.shape[1]
    lens = reference.intrinsics
    focal = lens.scaled(width) if lens is not None else None
    joint, difference = pose_difference(reference.joints, joints, carried_by)
    if math.isinf(difference):
        why = f"{name}: not compared, as it is on the arm and joint '{joint}' is not received"
        return CameraResult(name, CameraStatus.NOT_COMPARED, why)
    if difference > POSE_TOLERANCE:
        why = (
            f"{name}: not compared, as it is on the arm and '{joint}' is {difference:.3f} from "
            f"the saved pose, more than {POSE_TOLERANCE:g}: move the arm there to check it"
        )
        return CameraResult(name, CameraStatus.NOT_COMPARED, why)
    if carried_by:
        total = sum(abs(joints[j] - reference.joints[j]) for j in carried_by)
        limit += total * (focal[0] if focal else width)
    try:
        shift = measure_shift(reference.picture, picture, focal[0] if focal else 0.0)
    except MalformedError as error:
        why = f"{name}: not compared, {error.detail}: save it again in this resolution"
        return CameraResult(name, CameraStatus.NOT_COMPARED, why)
    if shift.reason:
        why = f"{name}: cannot tell whether the camera moved: {shift.reason}"
        if not carried_by and _elsewhere(reference, joints):
            why += "; if it is on the arm, state 'mount: arm' in the robot contract"
        return CameraResult(name, CameraStatus.UNCLEAR, why, shift, limit)
    degrees = None
    if focal is not None:
        degrees = tuple(
            math.degrees(math.atan2(px, f))
            for px, f in zip((shift.dx, shift.dy), focal, strict=True)
        )
    text, status = _verdict(name, shift, limit, degrees)
    return CameraResult(name, status, text, shift, limit, degrees)  # type: ignore[arg-type]


def _elsewhere(reference: CameraReference, joints: Mapping[str, float]) -> bool:
    """Return whether the arm is away from the saved pose, as far as it is known."""
    known = reference.joints.keys() & joints.keys()
    return pose_difference(reference.joints, joints, known)[1] > POSE_TOLERANCE


def _verdict(
    name: str, shift: Shift, limit: float, degrees: tuple[float, ...] | None
) -> tuple[str, CameraStatus]:
    pure = shift.corner <= max(limit, _PERSPECTIVE * shift.length)
    if pure and shift.length <= limit:
        text = f"{name}: within {limit:.1f} px of the reference ({shift.length:.1f} px)"
        return text, CameraStatus.OK
    what = f"{name}: moved by {shift.length:.1f} px"
    if not pure:
        what += f", and not by a pure shift (corners by {shift.corner:.0f} px more)"
    turns = [turn for turn in _turns(shift, limit, degrees) if turn]
    if not pure:
        if abs(shift.rotation) * 2 > abs(shift.zoom):
            # The contents turn against the camera, which is turned back with them.
            way = "clockwise" if shift.rotation > 0 else "anticlockwise"
            turns.append(f"{abs(math.degrees(shift.rotation)):.1f}° {way}")
        if abs(shift.zoom) * 2 > abs(shift.rotation):
            seen = "larger" if shift.zoom > 0 else "smaller"
            what += f"; it shows everything {100 * abs(shift.zoom):.1f} % {seen}: compare its place"
    if not turns:
        return what, CameraStatus.MOVED
    return f"{what}: turn the camera {' and '.join(turns)}", CameraStatus.MOVED


def _turns(shift: Shift, limit: float, degrees: tuple[float, ...] | None) -> list[str]:
    """Return the turns that undo a shift: the camera follows the contents of its picture."""
    found = []
    for index, (px, ways) in enumerate(
        ((shift.dx, ("to the right", "to the left")), (shift.dy, ("down", "up")))
    ):
        if abs(px) >= min(1.0, limit / 2):
            angle = f" ({abs(degrees[index]):.2f}°)" if degrees is not None else ""
            found.append(f"{abs(px):.1f} px{angle} {ways[0] if px > 0 else ways[1]}")
    return found


def overlay(
    reference: NDArray[np.uint8], picture: NDArray[np.uint8], result: CameraResult
) -> NDArray[np.uint8]:
    """Draw both pictures, [H, W, 3]: red is the reference, cyan the current one, grey is equal.

    An arrow shows the shift of the contents, ten times as long, and the line below the result.
    Pictures of different sizes are not blended: the current one is shown.
    """
    height, width = picture.shape[:2]
    blend = picture.copy()
    if reference.shape == picture.shape:
        before, now = (np.asarray(Image.fromarray(p).convert("L")) for p in (reference, picture))
        blend = np.stack([before, now, now], axis=2)
    bar = 18
    canvas = Image.new("RGB", (width, height + bar), "black")
    canvas.paste(Image.fromarray(blend), (0, 0))
    draw = ImageDraw.Draw(canvas)
    if not math.isnan(result.shift.dx):
        _draw_arrow(draw, (width / 2, height / 2), (result.shift.dx, result.shift.dy))
    draw.text((4, height + 3), result.text.replace("°", " deg"), fill="white")
    return np.asarray(canvas)


def _draw_arrow(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], shift: tuple[float, float]
) -> None:
    end = (start[0] + 10 * shift[0], start[1] + 10 * shift[1])
    angle = math.atan2(shift[1], shift[0])
    draw.line((start, end), fill="yellow", width=3)
    for side in (angle + 2.6, angle - 2.6):
        tip = (end[0] + 12 * math.cos(side), end[1] + 12 * math.sin(side))
        draw.line((end, tip), fill="yellow", width=3)
