"""The progress bar of `groot-ros engine`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bars() -> Iterator[Callable[[str, float], None]]:
    """A progress bar that changes its name with what is done."""
    from tqdm import tqdm

    with tqdm(
        total=100, bar_format="{desc:<32} {percentage:3.0f}%|{bar}|", disable=None, leave=False
    ) as bar:

        def show(what: str, fraction: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.n = round(100 * fraction)
            bar.refresh()

        yield show
