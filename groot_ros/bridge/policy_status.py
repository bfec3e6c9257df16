"""PolicyStatus, put together from what the parts of the policy node know."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groot_ros.bridge.messages import ns_to_time
from groot_ros.msg import PolicyStatus
from groot_ros.observation.inference_stats import STAGES, InferenceStats, StepBudget
from groot_ros.observation.input_health import InputHealth


@dataclass(frozen=True)
class LoadedPolicy:
    """What is said about a policy that is loaded."""

    engine: str = ""
    device: str = ""
    memory_bytes: int = 0
    horizon: int = 0


@dataclass(frozen=True)
class Activation:
    """Which run of the policy is meant; empty session = none since configure."""

    session: str = ""
    episode: int = 0


def policy_status(
    now_ns: int,
    lifecycle: int,
    activation: Activation,
    instruction_id: int,
    loaded: LoadedPolicy,
    rate_wanted: float,
    figures: InferenceStats,
    budget: StepBudget,
    inputs: Sequence[InputHealth],
    rejections: Mapping[str, int],
) -> PolicyStatus:
    """The message; `lifecycle` is a number of lifecycle_msgs/State."""
    msg = PolicyStatus(
        lifecycle=lifecycle,
        session=activation.session,
        episode=activation.episode,
        instruction_id=instruction_id,
        rate_wanted=rate_wanted,
        rate=figures.rate(now_ns),
        stages=list(STAGES),
        p50=array("f", figures.quantile(0.5)),
        p95=array("f", figures.quantile(0.95)),
        inputs=[i.name for i in inputs],
        age=array("f", [i.age for i in inputs]),
        rate_in=array("f", [i.rate for i in inputs]),
        rate_expected=array("f", [i.expected_rate for i in inputs]),
        input_count=array("Q", [i.count for i in inputs]),
        d=budget.inference_delay,
        s=budget.execution_horizon,
        horizon=loaded.horizon,
        within_budget=budget.ok,
        engine=loaded.engine,
        device=loaded.device,
        memory_bytes=loaded.memory_bytes,
        rejection_reasons=list(rejections),
        rejection_counts=array("Q", rejections.values()),
    )
    msg.header.stamp = ns_to_time(now_ns)
    return msg
