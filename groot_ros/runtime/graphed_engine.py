"""An engine whose backbone and head are one recorded graph each."""

from groot_ros.runtime.gr00t_n1d6 import Host
from groot_ros.runtime.graph_runner import GraphRunner
from groot_ros.runtime.staged_engine import StagedEngine


class GraphedEngine(StagedEngine):
    """Where recording fails the stages are launched one by one, and `reasons` says why."""

    def __init__(self, name: str, host: Host, graphs: GraphRunner) -> None:
        super().__init__(name, host, graphs)
        self._graphs = graphs

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        return self._graphs.reasons
