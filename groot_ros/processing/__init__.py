"""Observation to model input and model output to actions: plain numpy, no torch, no ROS."""

from groot_ros.processing.assets import BackboneAssets, find_backbone_assets, find_checkpoint
from groot_ros.processing.byte_tokenizer import (
    IMAGE_TOKEN_INDEX,
    VOCAB_SIZE,
    write_byte_tokenizer,
)
from groot_ros.processing.images import ImagePipeline
from groot_ros.processing.modality import (
    ActionConfig,
    ActionFormat,
    ActionType,
    Embodiment,
    ModalityConfig,
    ProcessorConfig,
    Representation,
)
from groot_ros.processing.processor import (
    EncodedSample,
    ModelInputs,
    Processor,
    Sample,
    collate,
)
from groot_ros.processing.save import save_processor
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer

__all__ = [
    "IMAGE_TOKEN_INDEX",
    "VOCAB_SIZE",
    "ActionConfig",
    "ActionFormat",
    "ActionType",
    "BackboneAssets",
    "Embodiment",
    "EncodedSample",
    "ImagePipeline",
    "ModalityConfig",
    "ModelInputs",
    "Processor",
    "ProcessorConfig",
    "Representation",
    "Sample",
    "StateActionCodec",
    "Statistics",
    "TextTokenizer",
    "collate",
    "find_backbone_assets",
    "find_checkpoint",
    "save_processor",
    "write_byte_tokenizer",
]
