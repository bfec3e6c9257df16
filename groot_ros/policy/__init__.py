# SPDX-License-Identifier: Apache-2.0
"""Load a checkpoint and turn observations into action chunks.

The modules of `load_policy` and `Policy` import torch; they are imported on first use, so that
`groot_ros.policy` itself can be imported without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groot_ros.policy.loading import load_policy as load_policy
    from groot_ros.policy.policy import DEFAULT_ACTION_DT as DEFAULT_ACTION_DT
    from groot_ros.policy.policy import InferenceError as InferenceError
    from groot_ros.policy.policy import Policy as Policy

__all__ = ["DEFAULT_ACTION_DT", "InferenceError", "Policy", "load_policy"]


def __getattr__(name: str) -> Any:
    if name == "load_policy":
        from groot_ros.policy.loading import load_policy

        return load_policy
    if name in __all__:
        from groot_ros.policy import policy

        return getattr(policy, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
