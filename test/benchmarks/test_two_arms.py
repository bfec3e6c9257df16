"""The benchmarks' robot is one that a processor can load."""

from benchmarks.two_arms import GROUPS, TAG, VIEWS, write_processor
from groot_ros.processing import Processor, TextTokenizer


def test_the_processor_of_the_benchmarks_loads(tmp_path) -> None:
    write_processor(tmp_path, 50)
    processor = Processor.load(tmp_path, TAG, TextTokenizer.load(tmp_path))
    assert processor.embodiment.video.modality_keys == VIEWS
    assert processor.embodiment.state.modality_keys == tuple(GROUPS)
