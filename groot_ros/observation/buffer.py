# SPDX-License-Identifier: Apache-2.0
"""Collect images and joint states, and assemble the newest observation from them.

Times are integers in ns, and a frame is a function that decodes its pixels on demand. The rules
and their reasons are in docs/explanation/observation.md.
"""

from collections.abc import Collection, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Observation, StampedInput, ns_to_s, s_to_ns
from groot_ros.observation.image_buffer import FrameSizes, ImageBuffer, Pixels
from groot_ros.observation.input_health import InputHealth, InputMeter
from groot_ros.observation.joint_buffer import JointBuffer
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import Camera, JointStateSource, RobotContract


class ObservationBuffer:
    """Recent inputs of a policy; may be filled and read by several threads.

    Args:
        contract: cameras, joints and their sources.
        spec: the inputs that the policy needs.
        tolerances: may be replaced while running.

    Attributes:
        cameras: view -> camera, for the views of the spec.
        sources: the joint state topics that the groups of the spec need.

    Raises:
        KeyError: the spec names a view or a group that the contract does not have.

    """

    def __init__(
        self, contract: RobotContract, spec: ObservationSpec, tolerances: SyncTolerances
    ) -> None:
        self._lock = Lock()
        self._dt_ns = s_to_ns(contract.action_dt)
        self._state_deltas = spec.state_deltas
        self._tolerances = tolerances
        self._groups = {name: contract.state_groups[name] for name in spec.groups}
        joints = {joint for own in self._groups.values() for joint in own}
        self.cameras: Mapping[str, Camera] = {v: contract.cameras[v] for v in spec.views}
        self.sources: Sequence[JointStateSource] = [
            s for s in contract.sources if joints.intersection(s.joints)
        ]
        self._images = ImageBuffer(self.cameras, spec.image_deltas, self._dt_ns, tolerances)
        self._sizes = FrameSizes()
        self._joints = JointBuffer(
            self.sources,
            joints,
            self._joint_span(),
            [j for j in joints if contract.joints[j].kind == "continuous"],
        )
        self._meters = {name: InputMeter(name, c.rate) for name, c in self.cameras.items()}
        self._meters |= {s.topic: InputMeter(s.topic, s.rate) for s in self.sources}

    @property
    def tolerances(self) -> SyncTolerances:
        """The tolerances that snapshot() applies."""
        return self._tolerances

    @tolerances.setter
    def tolerances(self, tolerances: SyncTolerances) -> None:
        with self._lock:
            self._tolerances = tolerances
            self._images.set_tolerances(tolerances)
            self._joints.set_span(self._joint_span())

    def record_image(self, view: str, arrival_ns: int) -> None:
        """Record the arrival of an image message, valid or not; add_frame() does not."""
        with self._lock:
            self._meters[view].record_arrival(arrival_ns)

    def add_frame(self, view: str, header_ns: int, arrival_ns: int, pixels: Pixels) -> None:
        """Add a frame of one camera; `pixels` is called only if an observation uses the frame.

        Raises:
            Rejected: zero_stamp, future_stamp.

        """
        camera = self.cameras[view]
        with self._lock:
            if camera.stamp == "header":
                self._check_stamp(f"camera '{view}'", header_ns, arrival_ns)
            stamp = header_ns if camera.stamp == "header" else arrival_ns
            stamp -= camera.latency_ns
            self._images.add_frame(view, stamp, pixels)
            self._meters[view].record_usable(stamp)

    def add_joint_state(
        self,
        topic: str,
        header_ns: int,
        arrival_ns: int,
        names: Collection[str],
        positions: Collection[float],
    ) -> None:
        """Add the content of a sensor_msgs/JointState, rad and m, and record its arrival.

        Raises:
            Rejected: zero_stamp, future_stamp.
            MalformedError: see JointBuffer.add_joint_state.

        """
        with self._lock:
            self._meters[topic].record_arrival(arrival_ns)
            self._check_stamp(f"'{topic}'", header_ns, arrival_ns)
            self._joints.add_joint_state(topic, header_ns, list(names), list(positions))
            self._meters[topic].record_usable(header_ns)

    def snapshot(self, now_ns: int, instruction: str) -> Observation:
        """Return the newest observation whose inputs lie within the tolerances.

        Raises:
            Rejected: no_instruction, missing_image, stale_image, skewed_images,
                missing_history, missing_joint_state, missing_joint, stale_joint_state,
                image_too_small, image_size_changed.
            MalformedError: a frame cannot be decoded.

        """
        if not instruction.strip():
            raise Rejected("no_instruction", "waiting for an instruction")
        with self._lock:
            self._drop_after(now_ns + s_to_ns(self._tolerances.max_future))
            stamps = self._images.select(now_ns, self._tolerances)
            t_obs = min(own[-1] for own in stamps.values())
            frames = {v: [self._images.pixels(v, s) for s in own] for v, own in stamps.items()}
            state, state_inputs = self._state(t_obs)
        return Observation(
            stamp_ns=t_obs,
            images={view: self._sizes.stack(view, own) for view, own in frames.items()},
            state=state,
            instruction=instruction,
            inputs=(
                *(StampedInput(view, s) for view, own in stamps.items() for s in own),
                *state_inputs,
            ),
        )

    def inputs(self, now_ns: int) -> tuple[InputHealth, ...]:
        """Return age, rate and count of every input, cameras first."""
        with self._lock:
            return tuple(meter.health(now_ns) for meter in self._meters.values())

    def clear(self) -> None:
        """Drop all frames and states but keep the rates, for the start of a new episode."""
        with self._lock:
            self._images.clear()
            self._joints.clear()

    def _check_stamp(self, what: str, stamp_ns: int, now_ns: int) -> None:
        if stamp_ns == 0:
            hint = ": set 'stamp: arrival' in the robot contract" if "camera" in what else ""
            raise Rejected("zero_stamp", f"{what} does not stamp its messages{hint}")
        ahead = stamp_ns - now_ns
        if ahead > s_to_ns(self._tolerances.max_future):
            raise Rejected(
                "future_stamp",
                f"{what} is stamped {ns_to_s(ahead):.3f} s ahead: are the clocks synchronised?",
            )

    def _drop_after(self, latest_ns: int) -> None:
        # After a clock reset, inputs without a new message still hold stamps of the old time.
        self._images.drop_after(latest_ns)
        self._joints.drop_after(latest_ns)

    def _state(self, t_obs: int) -> tuple[dict[str, NDArray[np.float64]], dict[StampedInput, None]]:
        """Return group -> positions [T, joints], and the samples used, in order."""
        gap = s_to_ns(self._tolerances.max_state_gap)
        rows = []
        inputs: dict[StampedInput, None] = {}
        for delta in self._state_deltas:
            positions, used = self._joints.interpolate(t_obs + delta * self._dt_ns, gap)
            rows.append(positions)
            inputs |= dict.fromkeys(used)
        state = {
            name: np.array([[row[j] for j in joints] for row in rows])
            for name, joints in self._groups.items()
        }
        return state, inputs

    def _joint_span(self) -> int:
        """Return how long joint positions can be needed, ns."""
        t = self._tolerances
        history = -self._state_deltas[0] * self._dt_ns
        latency = max((c.latency_ns for c in self.cameras.values()), default=0)
        return history + latency + s_to_ns(t.max_image_age + t.max_state_gap + t.max_future)
