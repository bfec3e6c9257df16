"""The executor's tunable figures, each with its unit and its reason."""

from dataclasses import dataclass, fields

#: Fields that may be zero; every other number must be positive.
_MAY_BE_ZERO = (
    "blend_window",
    "braking_time",
    "lead",
    "rest_velocity",
    "position_slack",
    "tracking_error_timeout",
    "max_underruns",
)


@dataclass(frozen=True)
class ExecutorSettings:
    """How the executor splices, bounds, publishes and gives up.

    Raises ValueError naming the field when a figure is out of range.

    Attributes:
        commit_horizon: s of motion published before the braking tail; an executor that dies
            brings the robot to rest within commit_horizon + braking time.
        max_chunk_age: s after its observation beyond which no step of a chunk is executed; a
            policy that dies brings the robot to rest within max_chunk_age + braking time.
        blend_window: s over which the check_start_state between committed motion and a new chunk
            decays; 0 leaves all of it to the limits.
        blend_acceleration: rad/s^2 or m/s^2 that blending may add where the chunk itself is not
            sharper; a larger check_start_state decays for up to one and a half windows.
        braking_time: s that a tail takes where limits leave the choice; less where a position
            limit is near or the motion was unsteady, more where the acceleration limit needs it.
        lead: s from now to the splice; a message must reach its controller within it.
        resend_window: s of motion already sent that a message begins with, so that it holds a knot
            at or before its arrival; must exceed latency + jitter + one control period.
        history: s of past motion kept in the committed timeline, for the policy's prefix.
        max_start_jump: rad or m between measured and intended position of a joint beyond which a
            chunk is rejected; grippers are exempt, they may rightly be told to snap.
        max_future: s that a stamp may lie ahead of now before clocks are said to disagree.
        joint_state_timeout: s without a joint state after which motion stops.
        limits_scale: velocity and acceleration limits times this, in (0, 1].
        session_silence: s without a chunk of the live session before another one is admitted.
        rest_velocity: rad/s or m/s below which a measured joint counts as standing.
        position_slack: rad or m that a measured joint may lie outside its limits and still
            count as on the limit.
        max_clock_step: s between two calls beyond which the clock has jumped, or the process stood
            still: what was sent is over by then, and motion begins anew.
        max_following_error: rad or m that a joint may be from where it is commanded to be;
            grippers are exempt. While one is further away nothing more is sent, so this bounds
            the jump of a controller that was deaf; a lag of 0.1 s at 3 rad/s is 0.3 rad.
        tracking_error_timeout: s from the first larger error, unless a recovery comes between, after
            which motion stops until resume.
        max_underruns: underruns after which motion needs an explicit resume; 0: never.
        shadow: compute and report everything, command nothing.
        single_step: execute one chunk to its end for each call of step().

    """

    commit_horizon: float = 0.3
    max_chunk_age: float = 1.0
    blend_window: float = 0.25
    blend_acceleration: float = 3.0
    braking_time: float = 0.3
    lead: float = 0.02
    resend_window: float = 0.06
    history: float = 1.0
    max_start_jump: float = 0.5
    max_future: float = 0.05
    joint_state_timeout: float = 0.5
    limits_scale: float = 1.0
    session_silence: float = 1.0
    rest_velocity: float = 0.05
    position_slack: float = 0.02
    max_clock_step: float = 1.0
    max_following_error: float = 0.3
    tracking_error_timeout: float = 0.5
    max_underruns: int = 0
    shadow: bool = False
    single_step: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                continue
            low_enough = value >= 0 if field.name in _MAY_BE_ZERO else value > 0
            if not (low_enough and value < float("inf")):
                bound = "at least 0" if field.name in _MAY_BE_ZERO else "above 0"
                raise ValueError(f"{field.name} must be finite and {bound}, not {value}")
        if self.limits_scale > 1.0:
            raise ValueError(f"limits_scale must be at most 1, not {self.limits_scale}")
        if self.resend_window >= self.history:
            raise ValueError(
                f"resend_window ({self.resend_window}) must be shorter than history ({self.history})"
            )
        if self.lead >= self.commit_horizon:
            raise ValueError(
                f"lead ({self.lead}) must be shorter than commit_horizon ({self.commit_horizon})"
            )
