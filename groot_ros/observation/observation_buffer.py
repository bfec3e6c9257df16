"""Collects what arrives and puts together the newest observation, or says why there is none.

Needs no ROS: times are integers, a frame is a function that gives its pixels when asked.
docs/explanation/observation.md tells the rules and their reasons.
"""

from collections.abc import Collection, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Observation, StampedInput, ns_to_s, s_to_ns
from groot_ros.observation.image_histories import FrameSizes, ImageHistories, Pixels
from groot_ros.observation.input_health import InputHealth, InputMeter
from groot_ros.observation.joint_histories import JointHistories
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import Camera, JointStateSource, RobotContract


class ObservationBuffer:
    """The inputs of the last moments; safe to fill and to read from several threads.

    Args:
        contract: cameras, joints and their sources.
        wanted: what the policy looks at.
        tolerances: may be replaced while running.

    Raises:
        KeyError: `wanted` names a view or a group that the contract does not have.

    """

    def __init__(
        self, contract: RobotContract, wanted: ObservationSpec, tolerances: SyncTolerances
    ) -> None:
        self._lock = Lock()
        self._dt_ns = s_to_ns(contract.action_dt)
        self._state_deltas = wanted.state_deltas
        self._tolerances = tolerances
        self._groups = [contract.groups[name] for name in wanted.groups]
        joints = {j for group in self._groups for j in group.joints}
        self.cameras: Mapping[str, Camera] = {v: contract.cameras[v] for v in wanted.views}
        self.sources: Sequence[JointStateSource] = [
            s for s in contract.joint_states if joints.intersection(s.joints)
        ]
        self._images = ImageHistories(self.cameras, wanted.image_deltas, self._dt_ns, tolerances)
        self._sizes = FrameSizes()
        self._joints = JointHistories(self.sources, joints, self._joint_span())
        self._meters = {name: InputMeter(name, c.rate) for name, c in self.cameras.items()}
        self._meters |= {s.topic: InputMeter(s.topic, s.rate) for s in self.sources}

    @property
    def tolerances(self) -> SyncTolerances:
        """What snapshot() goes by."""
        return self._tolerances

    @tolerances.setter
    def tolerances(self, tolerances: SyncTolerances) -> None:
        with self._lock:
            self._tolerances = tolerances
            self._images.keep(tolerances)
            self._joints.keep(self._joint_span())

    def arrived(self, view: str, arrival_ns: int) -> None:
        """One message of one camera, whatever becomes of it; a frame of it is added beside."""
        with self._lock:
            self._meters[view].arrived(arrival_ns)

    def add_image(self, view: str, header_ns: int, arrival_ns: int, pixels: Pixels) -> None:
        """One frame of one camera; `pixels` is asked only if an observation uses the frame.

        Raises:
            Rejected: zero_stamp, future_stamp.

        """
        camera = self.cameras[view]
        with self._lock:
            if camera.stamp == "header":
                self._check_stamp(f"camera '{view}'", header_ns, arrival_ns)
            stamp = header_ns if camera.stamp == "header" else arrival_ns
            stamp -= camera.latency_ns
            self._images.add(view, stamp, pixels)
            self._meters[view].accepted(stamp)

    def add_joint_state(
        self,
        topic: str,
        header_ns: int,
        arrival_ns: int,
        names: Collection[str],
        positions: Collection[float],
    ) -> None:
        """One sensor_msgs/JointState, rad and m.

        Raises:
            Rejected: zero_stamp, future_stamp.
            MalformedError: see JointHistories.add.

        """
        with self._lock:
            self._meters[topic].arrived(arrival_ns)
            self._check_stamp(f"'{topic}'", header_ns, arrival_ns)
            self._joints.add(topic, header_ns, list(names), list(positions))
            self._meters[topic].accepted(header_ns)

    def snapshot(self, now_ns: int, instruction: str) -> Observation:
        """The newest observation whose inputs agree.

        Raises:
            Rejected: no_instruction, missing_image, stale_image, skewed_images,
                missing_history, missing_joint_state, missing_joint, stale_joint_state,
                image_too_small, image_size_changed.
            MalformedError: a frame cannot be decoded.

        """
        if not instruction.strip():
            raise Rejected("no_instruction", "waiting for an instruction")
        with self._lock:
            self._forget_after(now_ns + s_to_ns(self._tolerances.max_future))
            stamps = self._images.choose(now_ns, self._tolerances)
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
        """Age, rate and count of every input, cameras first."""
        with self._lock:
            return tuple(meter.health(now_ns) for meter in self._meters.values())

    def clear(self) -> None:
        """Forget frames and states, not the rates: a new episode has no past."""
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

    def _forget_after(self, latest_ns: int) -> None:
        # After a clock reset, inputs that have not spoken again still hold the old time.
        self._images.forget_after(latest_ns)
        self._joints.forget_after(latest_ns)

    def _state(self, t_obs: int) -> tuple[dict[str, NDArray[np.float64]], dict[StampedInput, None]]:
        gap = s_to_ns(self._tolerances.max_state_gap)
        rows = []
        inputs: dict[StampedInput, None] = {}
        for delta in self._state_deltas:
            positions, used = self._joints.at(t_obs + delta * self._dt_ns, gap)
            rows.append(positions)
            inputs |= dict.fromkeys(used)
        state = {
            group.name: np.array([[row[j] for j in group.joints] for row in rows])
            for group in self._groups
        }
        return state, inputs

    def _joint_span(self) -> int:
        t = self._tolerances
        history = -self._state_deltas[0] * self._dt_ns
        latency = max((c.latency_ns for c in self.cameras.values()), default=0)
        return history + latency + s_to_ns(t.max_image_age + t.max_state_gap + t.max_future)
