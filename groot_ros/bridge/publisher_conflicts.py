"""Somebody else who speaks where one alone may."""

from collections.abc import Mapping, Sequence

from groot_ros.core import NS_PER_S

#: ns after its start in which a node is a conflicting_publisher: others are discovered by then, with Fast DDS
#: after up to 3 s.
_NEWCOMER_NS = 6 * NS_PER_S
#: Publishers are discovered a moment before the name of their node.
UNKNOWN = "a node not yet known"


class PublisherConflicts:
    """Who was there first goes on and says what is wrong; a conflicting_publisher gives way.

    Args:
        own: full name of the node that looks; it has one publisher on each of the topics.

    Attributes:
        words: who else publishes, and where; empty while nobody does.
        gives_way: whether this node is the one to stop; until it is alone.

    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._began_ns: int | None = None
        self.words = ""
        self.gives_way = False

    def begin(self, now_ns: int) -> None:
        """The node starts now, on a steady clock."""
        self._began_ns = now_ns

    @property
    def begun(self) -> bool:
        """Whether begin() was called."""
        return self._began_ns is not None

    def is_conflicting_publisher(self, now_ns: int) -> bool:
        """Whether others may not have been discovered yet."""
        return self._began_ns is not None and now_ns - self._began_ns < _NEWCOMER_NS

    def look(self, speakers: Mapping[str, Sequence[str]], now_ns: int) -> str:
        """Judge topic -> full names of the nodes that publish on it; returns `words`."""
        found = []
        for topic, names in speakers.items():
            others = [UNKNOWN if "_UNKNOWN_" in name else name for name in names]
            # Its own publisher, too, may be discovered before its name is.
            for own in (self._own, UNKNOWN):
                if own in others:
                    others.remove(own)
                    break
            if others:
                found.append(f"{', '.join(sorted(set(others)))} publishes on {topic}")
        self.words = f"{'; '.join(found)}: stop one of them" if found else ""
        self.gives_way = bool(found) and (self.gives_way or self.is_conflicting_publisher(now_ns))
        return self.words
