"""What leaves the executor: messages to controllers, and the timeline to the policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from groot_ros.control.actuated_joints import ActuatedJoints
from groot_ros.control.curve import Array, Curve
from groot_ros.control.settings import ExecutorSettings
from groot_ros.control.timeline import even_rows
from groot_ros.control.trajectory import JointTrajectory, prepare, require_continuous
from groot_ros.core import ActionChunk, CommittedTimeline, s_to_ns
from groot_ros.robot import Controller


@dataclass(frozen=True)
class Update:
    """What to publish now.

    Attributes:
        timeline: past and planned motion, for the policy.
        trajectories: one per joint_trajectory_controller; none in shadow mode,
            or where the controllers have to do with what they have.

    """

    timeline: CommittedTimeline
    trajectories: tuple[JointTrajectory, ...]


class Outputs:
    """Makes updates and remembers what the controllers follow.

    Attributes:
        published: the motion in force at the controllers; None before the first message.

    """

    def __init__(self, joints: ActuatedJoints, controllers: Sequence[Controller]) -> None:
        self._joints = joints
        self._streamed = tuple(c for c in controllers if c.type == "forward_command_controller")
        self._planned = tuple(c for c in controllers if c not in self._streamed)
        self._timeline_id = 0
        self._history_from_ns = 0
        self.published: Curve | None = None

    def forget_history(self, now_ns: int) -> None:
        """No timeline goes back beyond now."""
        self._history_from_ns = now_ns

    def update(
        self,
        sent: Curve,
        plan: Curve,
        chunk: ActionChunk | None,
        row_dt: float,
        now_ns: int,
        settings: ExecutorSettings,
        *,
        quiet: bool = False,
    ) -> Update:
        """The messages for `sent` and the timeline of `plan`, rows of row_dt s on the chunk's grid.

        A `quiet` one has the timeline alone: the controllers have `sent` already.
        Raises MalformedError where a message must not be sent; the old one stays in force then.
        """
        silent = quiet or settings.shadow
        window = sent.since(now_ns - s_to_ns(settings.resend_window))
        require_continuous(window, self.published, now_ns)
        trajectories = tuple(prepare(c, self._joints.columns(c), window) for c in self._planned)
        self._timeline_id += 1
        start_ns, positions, velocities = even_rows(
            plan,
            max(now_ns - s_to_ns(settings.history), self._history_from_ns),
            chunk.start_ns if chunk else now_ns,
            row_dt,
        )
        timeline = CommittedTimeline(
            stamp_ns=now_ns,
            id=self._timeline_id,
            session=chunk.session if chunk else "",
            episode=chunk.episode if chunk else 0,
            chunk_id=chunk.id if chunk else 0,
            start_ns=start_ns,
            dt=row_dt,
            joint_names=self._joints.names,
            positions=positions,
            velocities=velocities,
        )
        # Last of all: what an error keeps from being sent is not what the controllers follow.
        self.published = None if settings.shadow else sent
        return Update(timeline, () if silent else trajectories)

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Positions of now for the controllers that take no trajectories; none when at rest."""
        sent = self.published
        if not self._streamed or sent is None or now_ns > sent.end_ns:
            return ()
        position, _ = sent.at(now_ns)
        return tuple((c, position[self._joints.columns(c)]) for c in self._streamed)
