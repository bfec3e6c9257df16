"""The exact fast form of GR00T N1.6: four stages that give the plain model's numbers."""

from groot_ros.runtime.gr00t_n1d6.attend import Attend
from groot_ros.runtime.gr00t_n1d6.build import Host, StagedModel, load_fast, make_fast
from groot_ros.runtime.gr00t_n1d6.context import Context
from groot_ros.runtime.gr00t_n1d6.denoise import Denoise
from groot_ros.runtime.gr00t_n1d6.language import Language
from groot_ros.runtime.gr00t_n1d6.layout import Layout, Layouts, to_cell_patches
from groot_ros.runtime.gr00t_n1d6.runner import Runner, StageRunner, TorchRunner
from groot_ros.runtime.gr00t_n1d6.stages import Stages, run_backbone, run_head
from groot_ros.runtime.gr00t_n1d6.time_tables import TimeTableCache, TimeTables
from groot_ros.runtime.gr00t_n1d6.vision import Vision

__all__ = [
    "Attend",
    "Context",
    "Denoise",
    "Host",
    "Language",
    "Layout",
    "Layouts",
    "Runner",
    "StageRunner",
    "StagedModel",
    "Stages",
    "TimeTableCache",
    "TimeTables",
    "TorchRunner",
    "Vision",
    "load_fast",
    "make_fast",
    "run_backbone",
    "run_head",
    "to_cell_patches",
]
