"""The robot of the benchmarks, as a checkpoint describes it: two cameras, two arms and a waist."""

from pathlib import Path

TAG = "new_embodiment"
GROUPS = {"left_arm": 7, "right_arm": 7, "waist": 3}
VIEWS = ("front", "wrist")
#: Shortest edge of an image for the model; rows of the padded state and action.
_EDGE, _WIDTH = 256, 128
_STATISTICS = {"min": -3, "max": 3, "mean": 0, "std": 1, "q01": -2, "q99": 2}


def write_processor(directory: Path, horizon: int) -> None:
    """The files that a processor reads, its tokenizer among them."""
    import numpy as np

    from groot_ros.processing import (
        Embodiment,
        ModalityConfig,
        ProcessorConfig,
        save_processor,
        write_byte_tokenizer,
    )

    groups = tuple(GROUPS)
    embodiment = Embodiment(
        ModalityConfig((0,), VIEWS),
        ModalityConfig((0,), groups),
        ModalityConfig(tuple(range(horizon)), groups),
        ModalityConfig((0,), ("annotation.human.task_description",)),
    )
    config = ProcessorConfig(
        {TAG: embodiment},
        shortest_image_edge=_EDGE,
        max_state_dim=_WIDTH,
        max_action_dim=_WIDTH,
        max_action_horizon=horizon,
    )
    limits = {
        group: {name: np.full(width, value) for name, value in _STATISTICS.items()}
        for group, width in GROUPS.items()
    }
    write_byte_tokenizer(directory)
    save_processor(config, {TAG: {"state": limits, "action": limits}}, directory)
