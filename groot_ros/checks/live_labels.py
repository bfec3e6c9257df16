# SPDX-License-Identifier: Apache-2.0
"""Checks of live labels against the images that they belong to.

Publishers, types, rates and ages of their topics are checked by `live_inputs`, as of all inputs.
"""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.live_inputs import require_received, used_labels
from groot_ros.core import MalformedError
from groot_ros.core.live_graph import LiveGraph
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract
from groot_ros.vision.encodings import check_encoding, check_image

#: Least share of the labels whose image was received as well: some images are lost on the way.
_WITH_IMAGE = 0.5


def _images_of_labels(
    spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph
) -> Iterator[Problem]:
    """Find labels that the policy rejects, or that belong to none of the images."""
    labels = list(used_labels(spec, robot, graph))
    if not labels:
        raise NotApplicable("no labels are needed, or the robot contract has none")
    require_received([own for own, _ in labels])
    for own, camera in labels:
        assert camera.labels is not None
        sizes = {(form.width, form.height) for form in graph.cameras[camera.name].forms}
        for form in own.live.forms:
            try:
                check_image(form, camera.labels.encoding)
                check_encoding(form, camera.labels.encoding)
            except MalformedError as error:
                yield Problem(str(own), error.detail, f"the policy rejects them ({error.reason})")
                break
            if not camera.compressed and sizes and (form.width, form.height) not in sizes:
                shown = " or ".join(f"{width} x {height}" for width, height in sorted(sizes))
                yield Problem(
                    str(own),
                    f"have {form.width} x {form.height} pixels, their images {shown} (bad_labels)",
                )
                break
        both = own.live.received and graph.cameras[camera.name].received
        if both and own.live.with_image < _WITH_IMAGE * own.live.received:
            yield Problem(
                str(own),
                f"{own.live.with_image} of {own.live.received} messages have the stamp of an image "
                f"on {graph.cameras[camera.name].topic}",
                "copy the stamp of the image into the header of its labels",
            )


CHECKS = (
    Check(
        "label_images",
        Severity.ERROR,
        "graph",
        "encoding, size and stamps of live labels with the contract and with their images",
        "correct the segmentation, or 'labels' in the robot contract",
        ("spec?", "robot", "graph"),
        _images_of_labels,
    ),
)
