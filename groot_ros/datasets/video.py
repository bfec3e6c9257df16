# SPDX-License-Identifier: Apache-2.0
"""Videos of a data set: one frame per row, encoded, counted, decoded and joined with PyAV.

H.264 instead of LeRobot's AV1: decord, OpenCV and the ffmpeg of JetPack do not decode AV1.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from groot_ros.datasets import DatasetError

#: libx264: fast enough for several cameras a core, PSNR about 40 dB. A key frame every 10 frames
#: keeps random access cheap; without B-frames packets are in the order of the rows.
#: About one video in a thousand is encoded slightly differently when it is encoded again, also with
#: one thread; `mbtree=0` prevents that, but made a test video 2.4 times as large.
_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "g": "10"}
#: Ticks of a frame: exact for every integer fps, and what players expect.
_TICKS = 512


class VideoEncoder:
    """Writes one mp4; frame i is shown at i / fps.

    Args:
        path: file to write.
        fps: frames per second.
        threads: of the encoder; 1, as several episodes are encoded at a time.

    """

    def __init__(self, path: Path, fps: int, threads: int = 1) -> None:
        self.path = path
        self.count = 0
        self._fps = fps
        self._threads = threads
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        self._stream: av.VideoStream | None = None

    def add_frame(self, rgb: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 RGB [H, W, 3].

        Raises:
            DatasetError: its size is odd, or differs from that of the first frame.

        """
        height, width = rgb.shape[:2]
        if self._stream is None:
            self._stream = self._start(width, height)
        if (self._stream.width, self._stream.height) != (width, height):
            raise DatasetError(
                f"{self.path.name}: frame {self.count} has {width} x {height} pixels, the first "
                f"one had {self._stream.width} x {self._stream.height}"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.time_base = Fraction(1, self._fps)
        frame.pts = self.count
        self.count += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _start(self, width: int, height: int) -> av.VideoStream:
        if width % 2 or height % 2:
            raise DatasetError(
                f"{self.path.name}: the images have {width} x {height} pixels; H.264 with yuv420p "
                "needs an even width and height: set the camera to another size"
            )
        stream = self._container.add_stream("libx264", rate=self._fps, options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = self._threads
        stream.time_base = Fraction(1, self._fps * _TICKS)
        return stream


def count_frames(path: Path) -> int:
    """Return the number of frames, counted without decoding them.

    Raises:
        DatasetError: there is no such video.

    """
    with _open(path) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def video_info(path: Path) -> dict[str, object]:
    """Return codec, pixel format, width, height and rate (frames per second) of a video."""
    with _open(path) as container:
        stream = container.streams.video[0]
        return {
            "codec": stream.codec_context.codec.canonical_name,
            "pix_fmt": stream.codec_context.pix_fmt,
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "fps": float(stream.average_rate or 0),
        }


def verify_video(path: Path, frames: int, fps: float) -> str:
    """Return what is wrong with a video that should have this many frames, or an empty string.

    All packets are counted and their times compared with i / fps; the first and the last frame are
    decoded.
    """
    try:
        with _open(path) as container:
            stream = container.streams.video[0]
            times = [
                float(packet.pts * packet.time_base)
                for packet in container.demux(stream)
                if packet.size > 0 and packet.pts is not None
            ]
            if len(times) != frames:
                return f"has {len(times)} frames for {frames} rows"
            late = np.abs(np.sort(times) - np.arange(frames) / fps)
            if late.max(initial=0.0) > 1e-4:
                worst = int(late.argmax())
                return f"frame {worst} is shown {late[worst]:.4f} s away from {worst}/{fps:g} s"
            for at in sorted({0, frames - 1}):
                if _decode_at(container, stream, at / fps) is None:
                    return f"frame {at} cannot be decoded"
    except (DatasetError, av.FFmpegError) as error:
        return f"cannot be read: {error}"
    return ""


def decode_frames(path: Path, indices: Sequence[int] | None = None) -> Iterator[NDArray[np.uint8]]:
    """Decode frames in their order, uint8 RGB [H, W, 3].

    Args:
        path: the video.
        indices: of the frames, ascending; None = all.

    Raises:
        DatasetError: the video cannot be read, or ends before the last of the indices.

    """
    wanted = None if indices is None else list(indices)
    found = 0
    with _open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if wanted is None:
                yield frame.to_ndarray(format="rgb24")
            elif found < len(wanted) and number == wanted[found]:
                found += 1
                yield frame.to_ndarray(format="rgb24")
            if wanted is not None and found == len(wanted):
                return
    if wanted is not None and found < len(wanted):
        raise DatasetError(f"{path} ends before frame {wanted[found]}")


def join_videos(parts: Sequence[Path], out: Path, fps: int) -> list[int]:
    """Join videos without encoding them again; return the number of frames of each.

    Raises:
        DatasetError: they were encoded differently.

    """
    counts: list[int] = []
    with av.open(str(out), "w", options={"movflags": "faststart"}) as target:
        stream: av.VideoStream | None = None
        headers = b""
        for part in parts:
            with _open(part) as source:
                template = source.streams.video[0]
                own = bytes(template.codec_context.extradata or b"")
                if stream is None:
                    stream = target.add_stream_from_template(template)
                    stream.time_base = Fraction(1, fps * _TICKS)
                    headers = own
                elif own != headers:
                    raise DatasetError(
                        f"{part} was encoded with other settings than {parts[0]}, so they cannot "
                        "be joined in one file: write v2.1, which has a file for each episode"
                    )
                counts.append(_copy_packets(source, target, stream, sum(counts), fps))
    return counts


def _copy_packets(
    source: "av.container.InputContainer",
    target: "av.container.OutputContainer",
    stream: av.VideoStream,
    first: int,
    fps: int,
) -> int:
    """Append the packets of a video from frame number `first` on; return their number."""
    count = 0
    for packet in source.demux(video=0):
        if packet.size == 0 or packet.pts is None or packet.dts is None:
            continue
        ticks = packet.time_base * fps * _TICKS
        packet.pts = round(packet.pts * ticks) + first * _TICKS
        packet.dts = round(packet.dts * ticks) + first * _TICKS
        packet.duration = _TICKS
        packet.time_base = Fraction(1, fps * _TICKS)
        packet.stream = stream
        target.mux(packet)
        count += 1
    return count


def _open(path: Path) -> "av.container.InputContainer":
    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise DatasetError(f"video {path} cannot be opened: {error}") from error
    if not container.streams.video:
        container.close()
        raise DatasetError(f"{path} has no video stream")
    return container


def _decode_at(
    container: "av.container.InputContainer", stream: av.VideoStream, time: float
) -> av.VideoFrame | None:
    container.seek(round(time / (stream.time_base or 1)), stream=stream)
    for frame in container.decode(stream):
        if frame.time is not None and frame.time >= time - 1e-4:
            return frame
    return None
