"""The executor's report of one instant."""

from groot_ros.control.counters import Counters
from groot_ros.control.motion import CommittedMotion
from groot_ros.control.watchdog import Watchdog
from groot_ros.core import ActionChunk, ControlSource, ExecutorState, ExecutorStatus, ns_to_s


def report(
    now_ns: int,
    joint_names: tuple[str, ...],
    chunk: ActionChunk | None,
    motion: CommittedMotion,
    watchdog: Watchdog,
    tally: Counters,
    *,
    shadow: bool,
) -> ExecutorState:
    """What runs, for how long still, and what was rejected; `chunk` is the last one accepted."""
    status, code, reason = watchdog.status(now_ns, motion.end_ns, motion.rest_ns)
    held = status in (ExecutorStatus.HOLDING, ExecutorStatus.ESTOPPED)
    running = status == ExecutorStatus.RUNNING
    end_ns = motion.end_ns
    return ExecutorState(
        stamp_ns=now_ns,
        status=status,
        reason_code=code,
        reason=reason,
        joint_names=joint_names,
        splice_discontinuity=tuple(motion.splice_discontinuity.tolist()),
        limited_chunks=tuple(motion.limited_chunks.tolist()),
        shadow=shadow,
        hold=watchdog.hold,
        estop=watchdog.estop,
        control_source=ControlSource.HOLD if held else ControlSource.POLICY,
        session=chunk.session if chunk else "",
        episode=chunk.episode if chunk else 0,
        chunk_id=chunk.id if chunk else 0,
        step=ns_to_s(now_ns - chunk.start_ns) / chunk.dt if chunk and running else 0.0,
        chunk_age=ns_to_s(now_ns - chunk.stamp_ns) if chunk else 0.0,
        time_until_braking=ns_to_s(end_ns - now_ns) if running and end_ns is not None else 0.0,
        received=tally.received,
        accepted=tally.accepted,
        underruns=watchdog.underruns,
        rejections=tally.rejections,
        latched=watchdog.latched,
    )
