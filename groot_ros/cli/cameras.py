# SPDX-License-Identifier: Apache-2.0
"""`groot-ros cameras`: save reference pictures of the cameras, and check whether one has moved."""

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from groot_ros.bringup.arguments import require_namespace
from groot_ros.cli import add_command
from groot_ros.cli.config_options import add_config_options, config_from_options
from groot_ros.core import PolicyConfig
from groot_ros.core.share import robot_path, share_directory
from groot_ros.robot import RobotContract, load_contract
from groot_ros.vision.camera_check import CameraResult, CameraStatus, check_camera, overlay
from groot_ros.vision.camera_reference import CameraReference, ReferenceFolder
from groot_ros.vision.camera_shift import MIN_AGREEING, count_blocks

if TYPE_CHECKING:
    from groot_ros.bridge.camera_capture import Capture

_EXAMPLES = """examples:
  groot-ros cameras save --robot my_arm.yaml       # once, when the cameras are where they belong
  groot-ros cameras check --robot my_arm.yaml --out /tmp/cameras
  groot-ros cameras check --robot my_arm.yaml --json
  groot-ros cameras save --robot my_arm.yaml --replace

Exit status of check: 0 no camera has moved, 1 one has, 2 wrong usage or no reference, 3 no image
within --timeout, 4 a camera could not be compared. Nothing moves.
"""
MOVED, USAGE, NO_IMAGE, NOT_COMPARED = 1, 2, 3, 4


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros cameras`."""
    description = "Save reference pictures of the cameras, and check whether a camera has moved."
    parser = add_command(subparsers, "cameras", description, _EXAMPLES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    save = actions.add_parser(
        "save", help="save one picture per camera, and the pose", description=_save.__doc__
    )
    check = actions.add_parser(
        "check", help="compare the cameras with the saved pictures", description=_check.__doc__
    )
    for action in (save, check):
        action.add_argument(
            "--robot", default="so101", help="robot contract: a name or a file (default: so101)"
        )
        action.add_argument("--namespace", default="", help="namespace of the robot")
        action.add_argument(
            "--timeout", type=float, default=5.0, help="s to wait for images (default: 5)"
        )
        action.add_argument("--json", action="store_true", help="print the result as JSON")
    fields = ("camera_reference_directory",)
    options = {"camera_reference_directory": "reference_directory"}
    add_config_options(save, PolicyConfig, fields, options=options)
    add_config_options(check, PolicyConfig, (*fields, "max_camera_shift"), options=options)
    save.add_argument("--replace", action="store_true", help="replace existing references")
    check.add_argument(
        "--out", type=Path, metavar="DIR", help="write CAMERA.png: reference red, present cyan"
    )
    save.set_defaults(run=_save)
    check.set_defaults(run=_check)


def _save(args: argparse.Namespace) -> int:
    """Save one picture of each camera, as the policy receives it, with the pose of the arm."""
    contract, folder = _setup(args, ("camera_reference_directory",))
    received = _receive(contract, args)
    if missing := received.missing(contract):
        return _report_missing(missing, args)
    references = [_reference(view, contract, received) for view in contract.cameras]
    folder.write(references, replace=args.replace)
    weak = {r.camera for r in references if count_blocks(r.picture) < MIN_AGREEING}
    for view in sorted(weak):
        print(
            f"groot-ros cameras: warning: {view} shows too few edges to tell a shift: put "
            "something with edges into its view that stays there, then save again",
            file=sys.stderr,
        )
    if args.json:
        saved = [r.camera for r in references]
        print(json.dumps({"directory": str(folder.path), "cameras": saved, "weak": sorted(weak)}))
        return 0
    for reference in references:
        height, width = reference.picture.shape[:2]
        lens = "with" if reference.intrinsics is not None else "without"
        print(f"{reference.camera}: {width} x {height}, {reference.encoding}, {lens} CameraInfo")
    print(f"saved in {folder.path}")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Compare each camera with its reference, and say how to turn back one that has moved."""
    contract, folder = _setup(args, ("camera_reference_directory", "max_camera_shift"))
    references = {v: r for v in contract.cameras if (r := folder.read(v)) is not None}
    if not references:
        raise ValueError(folder.missing_reason())
    received = _receive(contract, args)
    results = []
    for view, reference in references.items():
        if view not in received.frames:
            continue
        picture = received.frames[view].picture
        carried = contract.arm_joints if contract.cameras[view].mount == "arm" else ()
        result = check_camera(reference, picture, args.max_camera_shift, received.joints, carried)
        results.append(result)
        if args.out is not None:
            _write_overlay(args.out, reference, picture, result)
    for view in contract.cameras.keys() - references.keys():
        why = f"{view}: has no reference: save it with 'groot-ros cameras save --replace'"
        results.append(CameraResult(view, CameraStatus.NOT_COMPARED, why))
    missing = {v: why for v, why in received.missing(contract).items() if v in references}
    if args.json:
        print(json.dumps({"cameras": [_as_json(r) for r in results], "missing": missing}))
    else:
        for result in results:
            print(f"{result.status.name.lower().replace('_', ' ')}: {result.text}")
        for view, why in missing.items():
            print(f"no image: {view}: {why} within {args.timeout:g} s")
    statuses = {result.status for result in results}
    if CameraStatus.MOVED in statuses:
        return MOVED
    if missing:
        return NO_IMAGE
    return 0 if statuses == {CameraStatus.OK} else NOT_COMPARED


def _setup(
    args: argparse.Namespace, fields: tuple[str, ...]
) -> tuple[RobotContract, ReferenceFolder]:
    """Return contract and references; ValueError for a value that is out of range."""
    if not 0.0 < args.timeout < math.inf:
        raise ValueError(f"--timeout must be positive and finite, not {args.timeout:g}")
    require_namespace(args.namespace.strip("/"))
    config = config_from_options(args, PolicyConfig, fields)
    contract = load_contract(robot_path(args.robot))
    folder = ReferenceFolder(
        config.camera_reference_directory, contract.fingerprint(args.namespace), contract.robot
    )
    return contract, folder


def _receive(contract: RobotContract, args: argparse.Namespace) -> "Capture":
    # Images of the usual size do not fit into the shared memory of the default profile.
    profile = str(share_directory() / "config" / "fastdds.xml")
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", profile)
    try:
        from groot_ros.bridge.camera_capture import capture
    except ImportError as error:
        raise ValueError(f"ROS 2 is not there ({error}): source it, then try again") from error
    return capture(contract, args.namespace, args.timeout)


def _report_missing(missing: Mapping[str, str], args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({"missing": dict(missing)}))
    for why in missing.values():
        print(
            f"groot-ros cameras: {why} within {args.timeout:g} s: is its driver running, in "
            "namespace and domain of this command? Nothing was saved",
            file=sys.stderr,
        )
    return NO_IMAGE


def _reference(view: str, contract: RobotContract, received: "Capture") -> CameraReference:
    frame = received.frames[view]
    return CameraReference(
        view,
        frame.picture,
        dict(received.joints),
        frame.stamp_ns,
        contract.cameras[view].encoding,
        frame.topic,
        received.intrinsics.get(view),
    )


def _write_overlay(out: Path, reference: CameraReference, picture: Any, result: Any) -> None:
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{quote(reference.camera, safe='')}.png"
    Image.fromarray(overlay(reference.picture, picture, result)).save(path)


def _as_json(result: CameraResult) -> dict[str, Any]:
    shift = result.shift
    known = result.status in (CameraStatus.OK, CameraStatus.MOVED)
    return {
        "camera": result.camera,
        "status": result.status.name.lower(),
        "text": result.text,
        "dx": shift.dx if known else None,
        "dy": shift.dy if known else None,
        "rotation_deg": math.degrees(shift.rotation) if known else None,
        "zoom": shift.zoom if known else None,
        "degrees": result.degrees,
        "limit": result.limit,
        "agreeing": shift.agreeing,
        "blocks": shift.blocks,
    }
