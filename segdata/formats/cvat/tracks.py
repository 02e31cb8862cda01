"""Tracks of a video ("CVAT for video 1.1"): the shapes that the document has of each frame. Nothing is interpolated.

    <track id label>                                          one object in the whole video
      <box frame="10" outside="0" keyframe="1" …>             a shape in a frame; where outside is 1 it is not seen

A frame is read where there is an image with its number, the last digits of the image's name: images/frame_000010.png.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation
from segdata.formats.shared.folder import IMAGE_ENDINGS, names_in, stem
from segdata.formats.xml import Node

_DIGITS = re.compile(r"\d{1,18}", re.ASCII)
_OF_VIDEO = ("frame", "outside", "keyframe")


def of_frames(nodes: Sequence[Node], findings: Findings, file: str) -> dict[int, Node]:
    """Frame → an `<image>` of its shapes, each with the label and the id of its track; in the order of frames."""
    shapes: dict[int, list[Node]] = {}
    for track in (node for node in nodes if node.tag == "track"):
        for node in (child for child in track.children if child.is_element and child.tag != "track"):
            number = node.attributes.get("frame", "")
            if not number.isascii() or not number.isdecimal() or len(number) > 18:
                raise InvalidAnnotation(
                    "a shape of a track has no frame", place=f"line {node.line}", why=f"frame is {number!r}"[:200]
                )
            members = shapes.setdefault(int(number), [])
            if node.attributes.get("outside") == "1":
                findings.remark("shapes of tracks that are outside their frame: no objects", file)
                continue
            kept = {name: value for name, value in node.attributes.items() if name not in _OF_VIDEO}
            about = {"label": track.attributes.get("label", ""), "track_id": track.attributes.get("id", "")}
            members.append(Node(node.tag, node.content, about | kept, node.line))
    return {number: Node("image", list(shapes[number])) for number in sorted(shapes)}


def images_of(root: Path, folder: Path | None) -> dict[int, str]:
    """Frame → its image, a path under the root, or under the folder where one is named."""
    for prefix in ("",) if folder is not None else ("images/", ""):
        by_number: dict[int, str] = {}
        for name in names_in(folder or root / prefix, *IMAGE_ENDINGS):
            if numbers := _DIGITS.findall(stem(name)):
                by_number.setdefault(int(numbers[-1]), prefix + name)
        if by_number:
            return by_number
    return {}
