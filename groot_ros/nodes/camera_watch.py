# SPDX-License-Identifier: Apache-2.0
"""The check of the cameras at activation: compare each with its reference picture, once."""

import threading
import time
from collections.abc import Callable

from groot_ros.core import MalformedError, PolicyConfig
from groot_ros.msg import CameraShift
from groot_ros.nodes.lifecycle import SetupError
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.robot import RobotContract
from groot_ros.vision.camera_check import CameraResult, CameraStatus, check_camera
from groot_ros.vision.camera_reference import (
    CameraReference,
    CameraReferenceError,
    ReferenceFolder,
)

#: s in which each camera must deliver an image if activate may be refused.
_TIMEOUT = 3.0
#: s between searches for new images.
_POLL_PERIOD = 0.1


class CameraWatch:
    """Compare the cameras of a policy with their references, in a separate thread or immediately.

    Args:
        config: of the policy node.
        contract: names robot and cameras.
        namespace: of the node.
        buffer: receives the images.
        on_result: called with each result, from the thread of the check.
        on_note: called with why cameras are not compared.
        on_error: called with an exception of the thread.

    """

    def __init__(
        self,
        config: PolicyConfig,
        contract: RobotContract,
        namespace: str,
        buffer: ObservationBuffer,
        on_result: Callable[[CameraResult], None],
        on_note: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._config, self._contract, self._buffer = config, contract, buffer
        self._on_result, self._on_note, self._on_error = on_result, on_note, on_error
        self._folder = ReferenceFolder(
            config.camera_reference_directory, contract.fingerprint(namespace), contract.robot
        )
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._results: dict[str, CameraResult] = {}

    @property
    def messages(self) -> tuple[CameraShift, ...]:
        """Return the results so far, for PolicyStatus."""
        return tuple(
            CameraShift(
                name=r.camera,
                status=int(r.status),
                dx=r.shift.dx,
                dy=r.shift.dy,
                limit=float(r.limit),
                text=r.text,
            )
            for r in list(self._results.values())
        )

    def start(self) -> None:
        """Begin the check, or complete it if activate may be refused.

        Raises:
            SetupError: a camera has moved, shows something else or sends no image, and
                camera_shift_action is refuse.

        """
        action = self._config.camera_shift_action
        references = {} if action == "off" else self._references()
        if not references:
            return
        if action == "refuse":
            missing = self._check(references, time.monotonic() + _TIMEOUT)
            refused = [
                r.text
                for r in self._results.values()
                if r.status in (CameraStatus.MOVED, CameraStatus.UNCLEAR)
            ]
            refused += [f"{v}: no image within {_TIMEOUT:g} s" for v in missing]
            if refused:
                raise SetupError(f"{'; '.join(refused)} (camera_shift_action is refuse)")
            return
        self._thread = threading.Thread(
            target=self._run, args=(references,), name="camera check", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the check; cameras without an image so far are not compared."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, references: dict[str, CameraReference]) -> None:
        try:
            self._check(references, None)
        except Exception as error:
            self._on_error(error)

    def _references(self) -> dict[str, CameraReference]:
        found: dict[str, CameraReference] = {}
        without = []
        for view in self._buffer.cameras:
            try:
                reference = self._folder.read(view)
            except CameraReferenceError as error:
                self._record(CameraResult(view, CameraStatus.NOT_COMPARED, f"{view}: {error}"))
                continue
            if reference is None:
                without.append(view)
            else:
                found[view] = reference
        if without:
            self._on_note(f"cameras not compared: {', '.join(without)}: {self._reason(found)}")
        return found

    def _reason(self, found: dict[str, CameraReference]) -> str:
        if found:
            return f"{self._folder.path} has no reference of them"
        return self._folder.missing_reason()

    def _check(self, references: dict[str, CameraReference], deadline: float | None) -> list[str]:
        """Compare each camera when it has an image; return those without one at the deadline."""
        pending = dict(references)
        while pending and not self._ended.is_set():
            for view in list(pending):
                frame = self._buffer.newest_frame(view)
                if frame is None:
                    continue
                pixels, joints = frame
                reference = pending.pop(view)
                carried = self._contract.arm_joints if self._is_carried(view) else ()
                limit = self._config.max_camera_shift
                try:
                    result = check_camera(reference, pixels(), limit, joints, carried)
                except MalformedError as error:
                    text = f"{view}: not compared, the image cannot be decoded: {error.detail}"
                    result = CameraResult(view, CameraStatus.NOT_COMPARED, text)
                self._record(result)
            if deadline is not None and time.monotonic() > deadline:
                break
            if pending:
                self._ended.wait(_POLL_PERIOD)
        return list(pending)

    def _is_carried(self, view: str) -> bool:
        return self._contract.cameras[view].mount == "arm"

    def _record(self, result: CameraResult) -> None:
        self._results[result.camera] = result
        self._on_result(result)
