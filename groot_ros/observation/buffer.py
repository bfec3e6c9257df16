# SPDX-License-Identifier: Apache-2.0
"""Collect images and joint states, and assemble the newest observation from them.

Times are integers in ns, and a frame is a function that decodes its pixels on demand. The rules
and their reasons are in docs/explanation/observation.md.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import (
    MalformedError,
    Observation,
    StampedInput,
    is_blank,
    ns_to_s,
    other_clock_hint,
    s_to_ns,
)
from groot_ros.observation.history import RESET_STEP_NS
from groot_ros.observation.image_buffer import FrameSizes, ImageBuffer, Pixels
from groot_ros.observation.image_content import ImageContent
from groot_ros.observation.input_health import InputHealth, InputMeter
from groot_ros.observation.joint_buffer import JointBuffer
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import Camera, JointStateSource, RobotContract
from groot_ros.robot.inputs import Labels
from groot_ros.vision.labels import LabelDecoder


class ObservationBuffer:
    """Recent inputs of a policy; may be filled and read by several threads.

    Args:
        contract: cameras, joints and their sources.
        spec: the inputs that the policy needs.
        tolerances: may be replaced while running.
        warn: called with the name of an input and a warning about it, from any thread.

    Attributes:
        cameras: view -> camera, for the views of the spec.
        sources: the joint state topics and joints that the groups of the spec need.
        labels: view -> labels of its images, if the spec needs them.

    Raises:
        KeyError: the spec names a view or a group that the contract does not have.
        ValueError: a camera has no labels, which the spec needs.

    """

    def __init__(
        self,
        contract: RobotContract,
        spec: ObservationSpec,
        tolerances: SyncTolerances,
        warn: Callable[[str, str], None] = lambda _name, _text: None,
    ) -> None:
        self._lock = Lock()
        self._dt_ns = s_to_ns(contract.action_dt)
        self._state_deltas = spec.state_deltas
        self._tolerances = tolerances
        self._groups = {name: contract.state_groups[name] for name in spec.groups}
        joints = {joint for own in self._groups.values() for joint in own}
        self.cameras: Mapping[str, Camera] = {v: contract.cameras[v] for v in spec.views}
        self.labels: Mapping[str, Labels] = _labels(self.cameras) if spec.labels else {}
        self.sources: Sequence[JointStateSource] = _by_topic(
            replace(s, joints=tuple(j for j in s.joints if j in joints))
            for s in contract.sources
            if joints.intersection(s.joints)
        )
        self._source_of = {s.topic: s for s in self.sources}
        self._images = ImageBuffer(
            self.cameras, spec.image_deltas, self._dt_ns, tolerances, self.labels
        )
        self._view_of_labels = {labels.topic: view for view, labels in self.labels.items()}
        self._sizes = FrameSizes()
        self._joints = JointBuffer(
            self.sources,
            joints,
            self._joint_span(),
            [j for j in joints if contract.joints[j].kind == "continuous"],
        )
        self._meters = {name: InputMeter(name, c.rate) for name, c in self.cameras.items()}
        self._meters |= {
            labels.topic: InputMeter(labels.topic, self.cameras[view].rate)
            for view, labels in self.labels.items()
        }
        self._meters |= {s.topic: InputMeter(s.topic, s.rate) for s in self.sources}
        self._contents = {v: ImageContent(v, colour=c.colour) for v, c in self.cameras.items()}
        #: Why the newest message of an input was rejected.
        self._rejected: dict[str, Rejected] = {}
        self._warn = warn

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

    def record_image(self, view: str, arrival_ns: int, data: Any = None) -> None:
        """Record the arrival of an image message, valid or not; add_frame() does not.

        The bytes `data` are compared with those of the last messages, if given.
        """
        with self._lock:
            self._meters[view].record_arrival(arrival_ns)
            warning = "" if data is None else self._contents[view].check_message(data, arrival_ns)
        if warning:
            self._warn(view, warning)

    def record_labels(self, view: str, arrival_ns: int) -> None:
        """Record the arrival of labels, valid or not; add_labels() does not."""
        with self._lock:
            self._meters[self.labels[view].topic].record_arrival(arrival_ns)

    def record_rejection(self, name: str, reason: str, detail: str) -> None:
        """Record why the newest message of a camera or topic was rejected before add_...().

        If no other message arrives, this is the reason why there is no observation.
        """
        with self._lock:
            self._rejected[name] = Rejected(reason, detail)

    def discard(self, name: str, reason: str, detail: str) -> None:
        """Drop all data of a camera or topic, as nothing that it sent can be trusted."""
        with self._lock:
            self._rejected[name] = Rejected(reason, detail)
            if name in self.cameras:
                self._images.drop_view(name)
            elif name in self._view_of_labels:
                self._images.drop_labels(self._view_of_labels[name])
            else:
                self._joints.drop_topic(name)

    def add_frame(self, view: str, header_ns: int, arrival_ns: int, pixels: Pixels) -> None:
        """Add a frame of one camera; `pixels` is called only if an observation uses the frame.

        Raises:
            Rejected: zero_stamp, future_stamp, out_of_order.

        """
        camera = self.cameras[view]
        with self._lock, self._noting_rejection(view):
            if camera.stamp == "header":
                self._check_stamp(f"camera '{view}'", header_ns, arrival_ns)
            stamp = header_ns if camera.stamp == "header" else arrival_ns
            stamp -= camera.latency_ns
            reset = self._images.add_frame(view, stamp, pixels)
            self._meters[view].record_usable(stamp)
        if reset:
            self._warn_reset(view, f"camera '{view}'")

    def add_labels(self, view: str, header_ns: int, arrival_ns: int, decode: LabelDecoder) -> None:
        """Add the labels of the image with the same stamp; they are decoded as the image is.

        Raises:
            Rejected: zero_stamp, future_stamp, out_of_order.

        """
        topic = self.labels[view].topic
        with self._lock, self._noting_rejection(topic):
            self._check_stamp(f"'{topic}'", header_ns, arrival_ns)
            stamp = header_ns - self.cameras[view].latency_ns
            self._images.add_labels(view, stamp, decode)
            self._meters[topic].record_usable(stamp)

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
            Rejected: zero_stamp, future_stamp, out_of_order.
            MalformedError: see JointBuffer.add_joint_state.

        """
        with self._lock, self._noting_rejection(topic):
            self._meters[topic].record_arrival(arrival_ns)
            source = self._source_of[topic]
            if source.stamp == "header":
                self._check_stamp(f"'{topic}'", header_ns, arrival_ns)
            stamp = header_ns if source.stamp == "header" else arrival_ns
            stamp -= source.latency_ns
            reset = self._joints.add_joint_state(topic, stamp, list(names), list(positions))
            self._meters[topic].record_usable(stamp)
        if reset:
            self._warn_reset(topic, f"'{topic}'")

    def snapshot(self, now_ns: int, instruction: str) -> Observation:
        """Return the newest observation whose inputs lie within the tolerances.

        Raises:
            Rejected: no_instruction, missing_image, stale_image, skewed_images,
                missing_history, missing_joint_state, missing_joint, stale_joint_state,
                image_too_small, image_size_changed, missing_labels, stale_labels. Instead of an
                input that is missing or too old, the reason why its newest message was rejected.
            MalformedError: a frame or labels cannot be decoded.

        """
        if is_blank(instruction):
            raise Rejected("no_instruction", "waiting for an instruction")
        with self._lock:
            self._drop_after(now_ns + s_to_ns(self._tolerances.max_future))
            try:
                stamps = self._images.select(now_ns, self._tolerances)
                t_obs = min(own[-1] for own in stamps.values())
                state, state_inputs = self._state(t_obs)
            except Rejected as rejection:
                raise self._cause(rejection, now_ns) from None
            frames = {v: [self._images.pixels(v, s) for s in own] for v, own in stamps.items()}
            decoders = {v: self._images.labels(v, stamps[v][-1]) for v in self.labels}
        images = {view: self._sizes.stack(view, own) for view, own in frames.items()}
        for view, own in images.items():
            if warning := self._contents[view].check_pixels(own[-1]):
                self._warn(view, warning)
        labels = {v: decode(images[v].shape[1:3])[None] for v, decode in decoders.items()}
        return Observation(
            stamp_ns=t_obs,
            images=images,
            state=state,
            instruction=instruction,
            inputs=(
                *(StampedInput(view, s) for view, own in stamps.items() for s in own),
                *state_inputs,
            ),
            labels=labels,
        )

    def newest_frame(self, view: str) -> tuple[Pixels, dict[str, float]] | None:
        """Return the newest frame of one camera, and the joints at its time, joint -> rad or m.

        Returns:
            None without a frame. There are no joints if one of them is missing or too old.

        """
        with self._lock:
            stamp = self._images.newest(view)
            if stamp is None:
                return None
            pixels = self._images.pixels(view, stamp)
            try:
                joints, _ = self._joints.interpolate(stamp, s_to_ns(self._tolerances.max_state_gap))
            except Rejected:
                joints = {}
        return pixels, joints

    def inputs(self, now_ns: int) -> tuple[InputHealth, ...]:
        """Return age, rate and count of every input, cameras first."""
        with self._lock:
            return tuple(meter.health(now_ns) for meter in self._meters.values())

    def clear(self) -> None:
        """Drop all frames and states but keep the rates, for the start of a new episode."""
        with self._lock:
            self._images.clear()
            self._joints.clear()
            self._rejected.clear()

    def _check_stamp(self, what: str, stamp_ns: int, now_ns: int) -> None:
        if stamp_ns == 0:
            raise Rejected(
                "zero_stamp",
                f"{what} does not stamp its messages: set 'stamp: arrival' in the robot contract",
            )
        ahead = stamp_ns - now_ns
        if ahead > s_to_ns(self._tolerances.max_future):
            hint = other_clock_hint(ns_to_s(ahead)) or ": are the clocks synchronised?"
            raise Rejected("future_stamp", f"{what} is stamped {ns_to_s(ahead):.3f} s ahead{hint}")

    @contextmanager
    def _noting_rejection(self, name: str) -> Iterator[None]:
        """Keep why the message of an input is rejected; forget it if the message is not."""
        try:
            yield
        except (Rejected, MalformedError) as error:
            self._rejected[name] = Rejected(error.reason, error.detail)
            raise
        self._rejected.pop(name, None)

    def _cause(self, rejection: Rejected, now_ns: int) -> Rejected:
        """Return why an input is missing: nothing is received, or its messages are rejected."""
        name = rejection.source
        rejected = self._rejected.get(name)
        if rejected and (
            rejection.reason.startswith("missing") or self._meters[name].arrives(now_ns)
        ):
            return rejected
        if rejection.reason == "missing_image" and self._meters[name].count:
            return Rejected("missing_image", f"no image of camera '{name}' since the last reset")
        return rejection

    def _warn_reset(self, name: str, what: str) -> None:
        self._warn(
            name,
            f"the stamps of {what} went back by more than {ns_to_s(RESET_STEP_NS):g} s: its "
            "history was dropped (was its clock reset, or is a bag played?)",
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
        latencies = [c.latency_ns for c in self.cameras.values()]
        latency = max((*latencies, *(s.latency_ns for s in self.sources)), default=0)
        return history + latency + s_to_ns(t.max_image_age + t.max_state_gap + t.max_future)


def _by_topic(sources: Iterable[JointStateSource]) -> list[JointStateSource]:
    """Return one source for each topic, with the joints of all sources that share it."""
    merged: dict[str, JointStateSource] = {}
    for source in sources:
        first = merged.get(source.topic)
        joints = source.joints if first is None else (*first.joints, *source.joints)
        merged[source.topic] = replace(first or source, joints=joints)
    return list(merged.values())


def _labels(cameras: Mapping[str, Camera]) -> dict[str, Labels]:
    """Return view -> labels; ValueError names a camera without."""
    found = {view: camera.labels for view, camera in cameras.items() if camera.labels}
    if missing := sorted(cameras.keys() - found.keys()):
        raise ValueError(f"camera '{missing[0]}' has no 'labels' in the robot contract")
    return found
