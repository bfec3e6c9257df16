"""The facade: a checkpoint directory in, observations to action chunks from then on."""

from groot_ros.policy.facade import DEFAULT_ACTION_DT, InferenceError, Policy
from groot_ros.policy.loading import load_policy

__all__ = ["DEFAULT_ACTION_DT", "InferenceError", "Policy", "load_policy"]
