"""Which frames of several cameras belong together."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence


def synchronised_frames(stamps: Mapping[str, Sequence[int]], skew_ns: int) -> dict[str, int] | None:
    """The newest set of frames, one per camera, that lie within `skew_ns` of each other.

    Newest means the latest t_obs, the stamp of the set's oldest frame. Each other camera
    gives its first frame from t_obs on: as new an observation as possible, then as little
    skew as possible.

    Args:
        stamps: camera -> stamps, ascending, ns.
        skew_ns: the widest spread allowed.

    Returns:
        camera -> stamp, or None when no set agrees.

    """
    candidates = sorted({s for own in stamps.values() for s in own}, reverse=True)
    for t_obs in candidates:
        chosen = {}
        for camera, own in stamps.items():
            index = bisect_left(own, t_obs)
            if index == len(own) or own[index] > t_obs + skew_ns:
                break
            chosen[camera] = own[index]
        else:
            return chosen
    return None
