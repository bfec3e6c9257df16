"""GR00T N1.6, plain and readable: the form that every faster engine is checked against."""

from groot_ros.models.gr00t_n1d6.action_head import ActionHead, Conditioning, HeadContext
from groot_ros.models.gr00t_n1d6.checkpoint import load_model
from groot_ros.models.gr00t_n1d6.config import (
    DiTConfig,
    EagleConfig,
    Gr00tN1d6Config,
    TextConfig,
    VisionConfig,
)
from groot_ros.models.gr00t_n1d6.eagle import BackboneOutput, EagleBackbone
from groot_ros.models.gr00t_n1d6.flow import draw_noise
from groot_ros.models.gr00t_n1d6.model import Gr00tN1d6, build_model
from groot_ros.models.gr00t_n1d6.objective import LossOutput, flow_matching_loss
from groot_ros.models.gr00t_n1d6.save import save_model
from groot_ros.models.gr00t_n1d6.tuning import apply_tuning, train_mode

__all__ = [
    "ActionHead",
    "BackboneOutput",
    "Conditioning",
    "DiTConfig",
    "EagleBackbone",
    "EagleConfig",
    "Gr00tN1d6",
    "Gr00tN1d6Config",
    "HeadContext",
    "LossOutput",
    "TextConfig",
    "VisionConfig",
    "apply_tuning",
    "build_model",
    "draw_noise",
    "flow_matching_loss",
    "load_model",
    "save_model",
    "train_mode",
]
