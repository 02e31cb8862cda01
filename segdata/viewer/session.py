"""What one server shows: a pack, and what was predicted for its images."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.arrays import BoolArray
from segdata.core.predictions import GroundTruth, Predictions
from segdata.core.sample import Sample
from segdata.correction.edits import wire
from segdata.errors import SegdataError
from segdata.pack import layout
from segdata.pack.read import Pack, open_pack
from segdata.places.address import Address
from segdata.query.meaning import compiled
from segdata.query.values import Names
from segdata.system.memory import give_back
from segdata.viewer.background import Work
from segdata.viewer.edited import Edited, EditedImages
from segdata.viewer.facets import added
from segdata.viewer.guard import Refused
from segdata.viewer.index import SORTS, Index, sort_of
from segdata.viewer.matching.comparison import Comparison
from segdata.viewer.matching.whole import Thresholds
from segdata.viewer.pictures import Pictures
from segdata.viz.overlay import color_of

if TYPE_CHECKING:
    from segdata.correction.editing import Editing


@dataclass(frozen=True)
class Start:
    """What the page shows first."""

    split: str | None = None
    where: str | None = None
    sort: str | None = None


class Session:
    """A pack, and predictions about it, as one server shows them.

    Args:
        path: the pack.
        predictions: a pack of predictions or results files about it.
        other: others about it, which those are compared with.
        edits: the file of its corrections, which the page may add to.
        model: the folder of a promptable model.

    Raises:
        LabelMismatch: the predictions have categories that the pack does not have.
        NotThere, DamagedData, InvalidInput: one of them cannot be read.
    """

    def __init__(
        self,
        path: Path,
        predictions: Path | None = None,
        start: Start | None = None,
        *,
        other: Path | None = None,
        edits: Path | None = None,
        model: Path | None = None,
    ) -> None:
        self.start = start or Start()
        self.pack: Pack = open_pack(path)
        self.comparison: Comparison | None = None
        self._files = [_File(path)]
        self.index = Index(self.pack)
        self.pictures = Pictures()
        self.editing: Editing | None = None
        self._edited_images: EditedImages | None = None
        if predictions is not None:
            from segdata.sources.evaluation import open_ground_truth

            truth = open_ground_truth(path)
            self.comparison = self._compared(predictions, truth)
            if other is not None:
                self.comparison.other = self._compared(other, truth)
        self.version = "-".join(file.crc32 for file in self._files)
        self._statistics: tuple[Edited | None, Work] | None = None
        if self.start.split is not None:
            self.pack.split(self.start.split)
        if self.start.where is not None:
            compiled(self.start.where, self.names)
        self.sorts: tuple[str, ...] = SORTS if self.comparison is None else (*SORTS, *self.comparison.sorts)
        if self.start.sort is not None:
            sort_of(self.start.sort, self.sorts)
        if edits is not None:
            self.editing = _editing(self.pack, edits, model)
            self._edited_images = EditedImages(self.index, self.editing)
        if self.comparison is not None:
            self.comparison.start()
        give_back()

    def _compared(self, path: Path, truth: GroundTruth) -> Comparison:
        """Predictions compared with the pack."""
        from segdata.sources.evaluation import open_predictions

        predictions = open_predictions(path, truth)
        truth = replace(  # without the lists that opening it made
            truth,
            get=self.pack.__getitem__,
            keys=self.pack.keys,
            splits={},
            find_images=self._images,
            find_text_ids=None,
        )
        file = _File(predictions.path)
        version = f"{self._files[0].crc32}-{file.crc32}"
        self._files.append(file)
        return Comparison(predictions, truth, self.index, version, self.edited)

    def _images(self) -> npt.NDArray[np.int64]:
        """(N, 3) int64, id, height and width of every image."""
        return np.column_stack((self.pack.column("image/id"), self.pack.column("image/size"))).astype(np.int64)

    def close(self) -> None:
        """Make no pictures any more, and compare no further."""
        self.pictures.close()
        if self._statistics is not None:
            self._statistics[1].stop()
        if self.editing is not None:
            self.editing.close()
        if self.comparison is not None:
            self.comparison.stop()

    def require_current(self, version: str) -> None:
        """Refuse what was asked about other data than there is now.

        Raises:
            Refused: the pack or the predictions were replaced, or the page is of another start.
        """
        if version != self.version:
            raise Refused(410, "the page shows other data than this server", fix="reload the page")
        for file in self._files:
            file.require_unchanged()

    # ------------------------------------------------------------------ queries

    @property
    def names(self) -> Names:
        """What queries are compared with."""
        return self.pack.query_columns.names if self.comparison is None else self.comparison.names

    def matching(self, query: str, at: Thresholds) -> BoolArray:
        """(N,) bool, which images a query means; what matches is asked at an IoU and a score.

        Raises:
            InvalidQuery: with the column of what is wrong.
            Pending: it asks for what is not computed yet.
        """
        if self.comparison is not None:
            return self.comparison.matching(query, at)
        meant = self.pack.matching(query)
        if (edited := self.edited()) is not None:
            meant[edited.numbers] = compiled(query, self.names)(edited)
        return meant

    def edited(self) -> Edited | None:
        """The images that were edited, as they are now; None where there are none.

        Raises:
            InvalidInput: an edit replaces another mask than the object had.
        """
        return None if self._edited_images is None else self._edited_images.now()

    @property
    def edits(self) -> int:
        """The number of the last edit, 0 for none."""
        return 0 if self.editing is None else self.editing.count

    def facets(self, is_meant: BoolArray | None) -> dict[str, Any]:
        """Counts of the images that are meant, (N,) bool, or of all, and of their objects."""
        if (edited := self.edited()) is None:
            return self.index.facets(is_meant)
        unedited = np.ones(len(self.index), bool) if is_meant is None else is_meant.copy()
        is_edited_meant = unedited[edited.numbers]
        unedited[edited.numbers] = False
        counts: dict[str, Any] = added(self.index.facets(unedited), edited.facets.count(is_edited_meant))
        return counts

    def values(self, sort: str, at: Thresholds) -> npt.NDArray[Any] | None:
        """(N,) what images are ordered by; None for their numbers.

        Raises:
            Pending: it is not computed yet.
        """
        if self.comparison is not None and sort in self.comparison.sorts:
            return self.comparison.values(sort, at)
        if sort == "index":
            return None
        values, edited = self.index.values(sort), self.edited()
        of_edited = None if edited is None else edited.values(sort)
        if edited is not None and of_edited is not None:
            values = values.copy()
            values[edited.numbers] = of_edited
        return values

    def statistics(self) -> dict[str, Any]:
        """What `segdata stats` counts, with the edits.

        Raises:
            Pending: it is not counted yet.
        """
        edited, path = self.edited(), self.pack.path
        if self._statistics is None or self._statistics[0] is not edited:
            if self._statistics is not None:
                self._statistics[1].stop()
            self._statistics = edited, Work(lambda progress: _statistics(path, edited, progress))
        result: dict[str, Any] = self._statistics[1].result()
        return result

    def require_comparison(self) -> Comparison:
        """The comparison with predictions.

        Raises:
            Refused: there are no predictions.
        """
        if self.comparison is None:
            raise Refused(404, "there are no predictions", fix="segdata view PACK PREDICTIONS")
        return self.comparison

    def require_other(self) -> Comparison:
        """The comparison with the other predictions.

        Raises:
            Refused: there are none.
        """
        if self.comparison is None or self.comparison.other is None:
            raise Refused(404, "there are no other predictions", fix="segdata view PACK PREDICTIONS OTHER")
        return self.comparison.other

    # ------------------------------------------------------------------ samples

    def truth(self, number: int) -> Sample:
        """An image with its annotations.

        Raises:
            Refused: there is no such image.
        """
        if not 0 <= number < len(self.pack):
            raise Refused(404, f"there is no sample {number}", fix=f"the pack has samples 0 … {len(self.pack) - 1}")
        return self.pack[number]

    def annotated(self, number: int) -> Sample:
        """The same, with its corrections.

        Raises:
            Refused: there is no such image.
        """
        truth = self.truth(number)
        return truth if self.editing is None else self.editing.replayed(number, truth).sample

    def require_editing(self) -> Editing:
        """The corrections.

        Raises:
            Refused: the page was opened without.
        """
        if self.editing is None:
            raise Refused(404, "the page was opened to look only", fix="segdata view PACK --edit")
        return self.editing

    def accepted(self, number: int, row: int) -> dict[str, Any]:
        """A prediction as members of an edit that makes it an object.

        Raises:
            Refused: there is no such prediction, or it has no mask.
        """
        instances = self.predicted(number).instances
        if not 0 <= row < len(instances):
            raise Refused(404, f"the image has no prediction {row}")
        if not instances.has_mask[row] or not instances.masks.areas[row]:
            raise Refused(422, "the prediction has no mask", fix="draw one from its box")
        score = float(instances.score[row])
        source = {"pack": self._files[1].crc32, "of": row, **({} if np.isnan(score) else {"score": score})}
        return {
            "op": "accept",
            "category": int(instances.category[row]),
            **wire(instances.masks, row),
            "prediction": source,
        }

    def predicted(self, number: int, *, by_other: bool = False) -> Sample:
        """The same image with what was predicted for it; with nothing where the predictions leave it out.

        Raises:
            Refused: there is no such image, or there are no predictions.
        """
        truth = self.truth(number)
        compared = self.require_other() if by_other else self.require_comparison()
        sample = compared.predictions.get(number)
        return Sample(truth.key, truth.height, truth.width, id=truth.id) if sample is None else sample

    # ------------------------------------------------------------------ the whole

    @property
    def document(self) -> dict[str, Any]:
        """What the page needs to know of the pack before it shows a sample."""
        pack, labels, facets = self.pack, self.pack.labels, self.facets(None)
        categories = [
            {
                "index": index,
                "id": category.id,
                "name": category.name,
                "supercategory": category.supercategory,
                "isthing": category.isthing,
                "ignore": category.ignore,
                "color": list(color_of(labels, index)),
                "images": images,
                "objects": objects,
            }
            for index, (category, (images, objects)) in enumerate(
                zip(labels.categories, facets["categories"], strict=True)
            )
        ]
        start, compared = self.start, self.comparison
        return {
            "version": self.version,
            "name": pack.path.resolve().name,
            "samples": len(pack),
            "objects": facets["objects"],
            "splits": [{"name": name, "samples": len(members)} for name, members in pack.splits.items()],
            "labels": {"name": labels.name, "void": labels.void, "categories": categories},
            "has_images": pack.info["images"] != "none",
            "has_semantic": facets["has_semantic"] > 0,
            "problems": pack.info.get("report"),
            "predictions": _predictions_document(compared),
            "other": None if compared is None else _predictions_document(compared.other),
            **({"edits": None, "tools": [], "model": None} if self.editing is None else self.editing.document()),
            "started": {"split": start.split, "where": start.where, "sort": start.sort},
        }

    def tile(self, number: int, at: Thresholds) -> dict[str, Any]:
        """What the grid says below a thumbnail.

        Raises:
            Refused: there is no such image.
        """
        self.truth(number)
        index, edited = self.index, self.edited()
        image = None if edited is None else edited.get(number)
        height, width = index.sizes[number].tolist()
        return {
            "i": number,
            "key": self.pack.key(number),
            "split": index.splits_of(number),
            "width": width,
            "height": height,
            "objects": int(index.counts[number]) if image is None else len(image.sample.instances),
            "id": int(self._ids[number]),
            "problem": index.problems.get(number),
            **({} if self.comparison is None else self.comparison.tile(number, at)),
        }

    def codec(self, number: int) -> str | None:
        """How an image is encoded; None where there is none."""
        name = _CODECS[int(self._codecs[number])]
        return None if name == "none" else name

    @cached_property
    def _ids(self) -> Any:
        return np.asarray(self.pack.column("image/id"))

    @cached_property
    def _codecs(self) -> Any:
        return np.asarray(self.pack.column("image/codec"))


_CODECS = list(layout.CODECS)


def _predictions_document(compared: Comparison | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    predictions: Predictions = compared.predictions
    return {
        "name": predictions.path.resolve().name,
        "kind": predictions.kind,
        "has_scores": "scores" in predictions.holds,
        "has_semantic": bool({"semantic", "panoptic"} & predictions.holds),
    }


def _editing(pack: Pack, edits: Path, model: Path | None) -> Editing:
    from segdata.correction.editing import Editing

    return Editing(pack, edits, model)


def _statistics(path: Path, edited: Edited | None, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """What `segdata stats` counts, with the images that were edited as they are now."""
    from segdata.statistics.counts import statistics

    def corrected(index: int, sample: Sample) -> Sample:
        image = None if edited is None else edited.get(index)
        return sample if image is None else image.sample

    return statistics(path, progress=progress, corrected=corrected).as_dict()


class _File:
    """A pack or results on disk, which others may replace.

    Attributes:
        crc32: of the pack's index; of results the checksum of their place, size and time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_pack = layout.is_pack(path)
        self._stamp = self._now()
        self.crc32 = self._checksum()

    def _now(self) -> tuple[int, ...]:
        if isinstance(self._path, Address):  # nobody else would know that it was replaced, and asking costs a request
            return (0,)
        state = (self._path / layout.INDEX if self._is_pack else self._path).stat()
        return state.st_ino, state.st_size, state.st_mtime_ns

    def _checksum(self) -> str:
        if self._is_pack:
            return str(layout.read_index(self._path)["crc32"])
        return f"{zlib.crc32(repr(self._now()).encode()):08x}"

    def require_unchanged(self) -> None:
        """Refuse to go on with a pack that is not there any more, or is another one.

        Raises:
            Refused: with what to do.
        """
        try:
            stamp = self._now()
            if stamp == self._stamp:
                return
            if self._checksum() == self.crc32:
                self._stamp = stamp
                return
        except (OSError, SegdataError):
            pass
        fix = "start segdata view again, and reload the page"
        raise Refused(410, f"{self._path.name} was replaced or removed", fix=fix)
