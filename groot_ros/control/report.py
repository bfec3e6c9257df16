"""The executor's report of one instant."""

from groot_ros.control.motion import CommittedMotion
from groot_ros.control.tally import Tally
from groot_ros.control.watchdog import Watchdog
from groot_ros.types import ActionChunk, ExecutorState, ExecutorStatus, ns_to_s


def report(
    now_ns: int,
    joint_names: tuple[str, ...],
    chunk: ActionChunk | None,
    motion: CommittedMotion,
    watchdog: Watchdog,
    tally: Tally,
    *,
    shadow: bool,
) -> ExecutorState:
    """What runs, for how long still, and what was refused; `chunk` is the last one accepted."""
    status, reason = watchdog.status(now_ns, motion.end_ns, motion.rest_ns)
    running = status == ExecutorStatus.RUNNING
    end_ns = motion.end_ns
    return ExecutorState(
        stamp_ns=now_ns,
        status=status,
        reason=reason,
        joint_names=joint_names,
        seam_jump=tuple(motion.seam_jump.tolist()),
        limit_hits=tuple(motion.limit_hits.tolist()),
        shadow=shadow,
        hold=watchdog.hold,
        estop=watchdog.estop,
        session=chunk.session if chunk else "",
        episode=chunk.episode if chunk else 0,
        chunk_id=chunk.id if chunk else 0,
        step=ns_to_s(now_ns - chunk.start_ns) / chunk.dt if chunk and running else 0.0,
        chunk_age=ns_to_s(now_ns - chunk.stamp_ns) if chunk else 0.0,
        time_to_tail=ns_to_s(end_ns - now_ns) if running and end_ns is not None else 0.0,
        received=tally.received,
        accepted=tally.accepted,
        starvations=watchdog.starvations,
        refusals=tally.refusals,
        latched=watchdog.latched,
    )
