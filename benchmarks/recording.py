# SPDX-License-Identifier: Apache-2.0
"""Messages that the recorder loses, and its CPU load, with two raw cameras and fast joint states.

    python -m benchmarks.recording [--seconds 60] [--compression zstd]

One process publishes two cameras, 640x480 rgb8 at 30 Hz, and joint states at 200 Hz; the recorder
node records them into a bag in a temporary folder, 55 MB per second. Both processes use the DDS
profile of the package and run on the same cores.

    published, in the bag   messages
    of a core               user and system time of the recorder's process, from the first published
                            message to two seconds after the last one
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.running_executor import node, processor_seconds
from groot_ros.bags.contents import read_contents
from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.core.share import dds_profile
from groot_ros.evaluation.table import format_table

_WIDTH, _HEIGHT = 640, 480
_CAMERAS = ("/front/image_raw", "/wrist/image_raw")
_JOINTS = "/joint_states"
_CAMERA_RATE, _JOINT_RATE = 30.0, 200.0
#: s in which messages that were published still reach the bag.
_SETTLING = 2.0


def publish(seconds: float) -> None:
    """Publish for `seconds` once all topics are subscribed to; print the counts at the end."""
    import numpy as np
    import rclpy
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image, JointState

    from groot_ros.bridge import qos

    rclpy.init()
    publisher = rclpy.create_node("sensors").create_publisher
    rng = np.random.default_rng(0)

    def image() -> bytes:
        pixels = rng.integers(0, 256, 3 * _WIDTH * _HEIGHT, np.uint8).tobytes()
        size = {"width": _WIDTH, "height": _HEIGHT, "step": 3 * _WIDTH}
        return serialize_message(Image(**size, encoding="rgb8", data=pixels))

    names = [f"joint_{i}" for i in range(7)]
    joints = serialize_message(
        JointState(name=names, position=[0.1] * 7, velocity=[0.1] * 7, effort=[0.1] * 7)
    )
    streams = [
        (publisher(Image, topic, qos.DRIVER), image(), _CAMERA_RATE, topic) for topic in _CAMERAS
    ]
    streams.append((publisher(JointState, _JOINTS, qos.DRIVER), joints, _JOINT_RATE, _JOINTS))
    while not all(stream[0].get_subscription_count() for stream in streams):
        time.sleep(0.05)
    print("begin", flush=True)
    begin = time.monotonic()
    due = [begin] * len(streams)
    counts = dict.fromkeys([*_CAMERAS, _JOINTS], 0)
    while (now := time.monotonic()) < begin + seconds:
        for i, (to, data, rate, topic) in enumerate(streams):
            if due[i] <= now:
                to.publish(data)
                counts[topic] += 1
                due[i] += 1.0 / rate
        time.sleep(max(0.0, min(due) - time.monotonic()))
    for topic, count in counts.items():
        print(topic, count, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record for the given time and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.recording",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="duration (%(default)s)")
    parser.add_argument("--compression", choices=("none", "zstd"), default="none")
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        publish(options.seconds)
        return
    use_isolated_domain()
    os.environ.update(dds_profile())
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        command = [sys.executable, "-m", "benchmarks.recording", "--publish"]
        command += ["--seconds", str(options.seconds)]
        with node("recorder_node", output=bag, compression=options.compression) as recorder:
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sensors:
                assert sensors.stdout is not None
                assert sensors.stdout.readline() == "begin\n"
                before = processor_seconds(recorder)
                lines = [line.split() for line in sensors.stdout]
            time.sleep(_SETTLING)
            load = (processor_seconds(recorder) - before) / (options.seconds + _SETTLING)
        published = {topic: int(count) for topic, count in lines}
        recorded = {topic.name: topic.count for topic in read_contents(bag).topics}
        size = read_contents(bag).bytes
    rows = [
        [topic, str(count), str(recorded.get(topic, 0)), str(count - recorded.get(topic, 0))]
        for topic, count in published.items()
    ]
    print(format_table(["topic", "published", "in the bag", "lost"], rows))
    print(
        f"recorder ({options.compression}): {100 * load:.1f}% of a core, {size / 1e6:.0f} MB in "
        f"{options.seconds:g} s"
    )
    print("target on 2 cores, compression none: 0 lost, <= 40% of a core")


if __name__ == "__main__":
    main()
