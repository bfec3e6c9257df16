"""Engine "torch": the exact fast form in eager PyTorch."""

from groot_ros.runtime.gr00t_n1d6 import StagedModel, TorchRunner
from groot_ros.runtime.staged_engine import StagedEngine


class TorchEngine(StagedEngine):
    """The model was made for one embodiment; on the CPU its weights are packed."""

    def __init__(self, fast: StagedModel) -> None:
        super().__init__("torch", fast.host, TorchRunner(fast.pack()))
