"""One conversion: its options, the shards that it is cut into, and its report; nothing is read or written here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

from segdata.core import conversion_losses
from segdata.core.findings import Findings, one_line
from segdata.core.images import limit_of
from segdata.core.reprs import counted, in_full, line
from segdata.errors import InvalidAnnotation, InvalidInput, SegdataError, UsageError, number_of, require_choice
from segdata.formats.contract import ReadOptions
from segdata.pack import layout
from segdata.sets.recode import StoreAsQoi
from segdata.sources.dataset import Classes, Dataset, Labels, OnError, images_folders, without
from segdata.system.files import canonical_json
from segdata.version import __version__

SHARD_SAMPLES = (256, 4096)
SHARDS = 16
SHARD_IMAGE_BYTES = 1 << 30
SHARD_ANNOTATION_BYTES = 1 << 28

_CHANGED = "changed"

Crowds = Literal["keep", "drop", "objects"]
"""What becomes of objects with iscrowd."""

AllowLoss = bool | str | Sequence[str]
"""Whether all losses are allowed, or the kinds of loss that are; see `segdata.core.conversion_losses`."""

Exif = Literal["keep", "apply"]
"""What becomes of images whose EXIF orientation says that they lie on their side, or are flipped."""

Recode = Literal["keep", "lossless"]
"""Whether photos keep their files' bytes, or are stored so that they decode fastest, with equal pixels."""

MANY_CROWDS = 0.1
"""Share of objects with iscrowd above which the flag may mean something else."""

_NOT_READ = re.compile(r"(file|folder|document) not read")
_IS_TEXT = re.compile(
    r"(^|/)(readme|licen[cs]e|copying|citation|changelog)[^/]*$|\.(md|html?|pdf|ya?ml|sh|py)$", re.IGNORECASE
)
"""Names of files that are no annotations."""

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The options of `segdata.convert`, which says what each of them means."""

    source_format: str | None = None
    to: str = "pack"
    splits: Sequence[str] = ()
    lists: Mapping[str, Sequence[str]] | None = None
    truth: Path | None = None
    labels: Labels = None
    where: str | None = None
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    min_area: float = 0.0
    crowds: Crowds = "keep"
    exif: Exif = "keep"
    recode: Recode = "keep"
    classes: Classes = None
    split_by: Mapping[str, float] | None = None
    seed: int = 0
    group: str | None = None
    images: layout.Images = "embed"
    limit: int | None = None
    on_error: OnError = "stop"
    fail_fast: bool = False
    allow_loss: frozenset[str] = frozenset()
    decode: bool = False
    workers: int | None = None
    shard_samples: int | None = None
    hang_seconds: float = 600.0
    part: Part | None = None
    dry_run: bool = False
    force: bool = False
    clean: bool = False
    wait: float = 0.0
    lock: bool = True
    progress: Progress | None = None
    read: ReadOptions = field(default_factory=ReadOptions)

    @classmethod
    def of(
        cls,
        *,
        truth: str | Path | None,
        crowds: Crowds | bool,
        images_dir: str | Path | Mapping[str, str | Path] | None,
        follow_links: bool,
        max_pixels: int | None,
        strict: bool,
        allow_loss: AllowLoss,
        part: str | tuple[int, int] | None,
        **others: Any,
    ) -> ConvertOptions:
        """From the arguments of `segdata.convert`.

        Raises:
            UsageError: a value that an option does not have.
        """
        require_choice("crowds", "keep" if crowds is True else "drop" if crowds is False else crowds, Crowds)
        for name, choices in (("exif", Exif), ("recode", Recode), ("images", layout.Images), ("on_error", OnError)):
            require_choice(name, others[name], choices)
        for name in ("splits", "keep", "drop"):
            if isinstance(others.get(name), str):
                others[name] = [others[name]]
        return cls(
            truth=None if truth is None else Path(truth),
            crowds="keep" if crowds is True else "drop" if crowds is False else crowds,
            allow_loss=conversion_losses.allowed(allow_loss),
            part=None if part is None else Part.parsed(part) if isinstance(part, str) else Part(*part),
            read=ReadOptions(
                images_dir=images_folders(images_dir),
                follow_links=follow_links,
                max_pixels=limit_of(max_pixels),
                strict=strict,
            ),
            **others,
        )

    def recorded(self) -> dict[str, Any]:
        """The options that the result depends on, as packs and folders record them; filters are recorded apart."""
        return {
            "images": self.images,
            "splits": list(self.splits),
            "limit": self.limit,
            "on_error": self.on_error,
            "decode": self.decode,
            "shard_samples": self.shard_samples,
            **self._recorded_reading(),
            **({} if self.where is None else {"where": self.where}),
        }

    def _recorded_reading(self) -> dict[str, Any]:
        """Those options of the reader that are not the default; folders elsewhere by their names alone."""
        read, default = self.read, ReadOptions()
        recorded = {
            "images_dir": {split: folder.name for split, folder in read.images_dir.items()},
            "follow_links": read.follow_links,
            "max_pixels": read.max_pixels,
            "strict": read.strict,
            "classes_from_data": read.classes_from_data,
        }
        return {name: value for name, value in recorded.items() if value != getattr(default, name)}


@dataclass(frozen=True)
class Part:
    """A share of a conversion's shards: every `of`-th one, from the `number`-th on.

    Attributes:
        number: 1 … `of`.
        of: in how many parts the work is shared.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"there is no part {self.number} of {self.of}", why="expected 1/4, 2/4, 3/4, 4/4", fix="--part 2/4"
            )

    @classmethod
    def parsed(cls, text: str) -> Part:
        """From "2/4".

        Raises:
            UsageError: no such text.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise UsageError(f"--part {text!r} is no part", why="expected 1/4, 2/4, 3/4, 4/4", fix="--part 2/4")
        return cls(int(match[1]), int(match[2]))

    def share_of(self, shards: int) -> range:
        """The numbers of its shards."""
        return range(self.number - 1, shards, self.of)

    def of_target(self, target: Path) -> Path:
        """What is locked while the part is converted: no path that there is."""
        return target.with_name(f"{target.name}.part-{self.number}-of-{self.of}")


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion did.

    Attributes:
        source_format, target_format: "pack" or a format's name.
        target: the folder that was written.
        samples, instances: how many there are in the target.
        splits: name → number of samples.
        problems: what was odd (remarks), dropped (losses) and left out (skipped), by kind with examples.
        was_done: True when the target was already there, made from the same source with the same options.
        is_dry_run: True when nothing was written.
        missing: of a part, how many shards other parts have yet to convert before the pack is there.
        stopped_by: of a dry run, the error that the conversion itself would end with.
    """

    source_format: str
    target_format: str
    target: Path
    samples: int
    instances: int
    splits: Mapping[str, int]
    problems: Mapping[str, Any]
    was_done: bool = False
    is_dry_run: bool = False
    missing: int = 0
    stopped_by: SegdataError | None = None

    def __repr__(self) -> str:
        counts = counted(self.samples, "sample"), counted(self.instances, "object")
        state = "nothing written" if self.is_dry_run else "was there" if self.was_done else ""
        if self.missing:
            state = f"a part; {number_of(self.missing, 'shard')} missing"
        return line(self, repr(str(self.target)), self.target_format, *counts, state)

    @classmethod
    def of_pack(
        cls, index: Mapping[str, Any], source_format: str, target: Path, *, was_done: bool = True
    ) -> ConvertReport:
        """The report of the conversion that made a pack with this index."""
        return cls(
            source_format=source_format,
            target_format="pack",
            target=target,
            samples=index["samples"],
            instances=index["instances"],
            splits={split["name"]: split["samples"] for split in index["splits"]},
            problems=index["report"],
            was_done=was_done,
        )

    @property
    def skipped(self) -> int:
        """Items that were left out."""
        return sum(item["count"] for item in self.problems["skipped"])

    @property
    def loss_kinds(self) -> list[dict[str, Any]]:
        """What was dropped by kinds of loss, the gravest first."""
        return conversion_losses.grouped(self.problems["losses"])

    def recorded(self) -> dict[str, Any]:
        """The report as it is kept beside what was written."""
        values = {name: value for name, value in vars(self).items() if name not in ("stopped_by", "missing")}
        return {**values, "target": self.target.name, "splits": dict(self.splits)}

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        more = {"target": str(self.target), "missing": self.missing, "loss_kinds": self.loss_kinds}
        return {**self.recorded(), **more}


@dataclass(frozen=True)
class Job:
    """One conversion.

    Attributes:
        dataset: what is read, filtered and adapted to the target's format.
        target: the folder to make.
    """

    dataset: Dataset
    target: Path
    options: ConvertOptions

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """The options that the result depends on, filters by their digests."""
        recorded = self.options.recorded()
        if self.dataset.steps:
            recorded["steps"] = [hashlib.sha256(in_full(step).encode()).hexdigest() for step in self.dataset.steps]
        return recorded

    @cached_property
    def fingerprint(self) -> str:
        """Equal for conversions of the same source with the same options by the same version."""
        identity = [self.dataset.fingerprint, self.options.to, self.recorded, __version__, layout.VERSION]
        return hashlib.sha256(canonical_json(identity)).hexdigest()

    @cached_property
    def shards(self) -> list[range]:
        """The indices of each shard's samples."""
        images = self.options.images if self.options.to == "pack" else "embed"
        return cut(self.dataset.sizes, images, self.options.shard_samples)

    def refuse_to_replace(self, options: Mapping[str, Any], version: str) -> NoReturn:
        """Say how the earlier conversion that made the target differs from this one.

        Raises:
            InvalidInput: always.
        """
        before, now = {**options, "segdata": version}, {**self.recorded, "segdata": __version__}
        differing = [name for name in before | now if before.get(name) != now.get(name)]
        differences = "; ".join(f"{name}: {before.get(name)!r} then, {now.get(name)!r} now" for name in differing)
        raise InvalidInput(
            f"{self.target} was made with other options" if differing else f"{self.target} was made of other data",
            file=self.target,
            why=differences or "files, splits or labels of the source are others",
            fix="choose another name, or add --force to replace it",
        )

    def require_valid(self, findings: Findings) -> None:
        """Refuse the dataset when something is invalid and nothing may be left out.

        Raises:
            InvalidInput: with the count and the first problems.
        """
        if self.options.on_error == "stop":
            findings.raise_if_any(str(self.dataset.root))

    def check_counts(self, findings: Findings, samples: int, seen: Iterable[Sequence[int]]) -> None:
        """Remark many crowds; refuse to write nothing, and images beside annotation files that were not read.

        Args:
            samples: how many are left.
            seen: of every shard, see `shards.Seen`.

        Raises:
            InvalidAnnotation: with what was left out, or not read.
        """
        dataset = self.dataset
        annotated, objects, crowds = map(sum, zip(*seen, (0, 0, 0), strict=True))
        if crowds > MANY_CROWDS * objects and dataset.format != "pack":
            findings.remark(
                "objects with iscrowd, which training leaves out and AP ignores (--crowds objects makes objects of them)",
                f"{crowds:,} of {objects:,} objects",
                crowds,
            )
        if not samples:
            is_left_out = bool(len(dataset) or findings.skips)
            raise InvalidAnnotation(
                "nothing is left: every image was left out" if is_left_out else "there are no images to convert",
                file=dataset.root,
                why="\n          ".join(one_line(error) for error in findings.first)
                or (
                    number_of(len(dataset), "image")
                    if is_left_out
                    else f"taken for {dataset.layout}, which names no image"
                ),
                state="nothing was converted",
                fix="\n          ".join(findings.fixes()) if is_left_out else None,
            )
        unread = {
            kind: remarks
            for kind, remarks in findings.remarks.items()
            if _NOT_READ.match(kind) and not all(_IS_TEXT.search(name) for name in remarks.examples)
        }
        if samples and not annotated and dataset.expects_annotations and not unread:
            findings.remark("no image has an object or a label map: the annotations are empty", str(dataset.root))
        elif samples and not annotated and dataset.expects_annotations:
            files = [f"{kind}: {', '.join(remarks.examples[:5])}" for kind, remarks in unread.items()]
            findings.skip(
                InvalidAnnotation(
                    f"no annotation was read: {number_of(samples, 'image')}, no object and no label map",
                    file=dataset.root,
                    why=f"taken for {dataset.layout}; {'; '.join(files)}",
                    fix="see docs/your-data.md for the names that are looked for; the images alone: --on-error skip",
                )
            )
            self.require_valid(findings)

    def report(
        self,
        samples: int,
        instances: int,
        findings: Findings,
        *,
        left_out: Sequence[int] = (),
        is_dry_run: bool = False,
    ) -> ConvertReport:
        """What was done; splits are those of the source without the samples that were left out."""
        return ConvertReport(
            source_format=self.dataset.format,
            target_format=self.options.to,
            target=self.target,
            samples=samples,
            instances=instances,
            splits={name: len(members) for name, members in without(self.dataset.splits, left_out).items()},
            problems=findings.as_dict(),
            is_dry_run=is_dry_run,
        )


def origin(dataset: Dataset) -> str:
    """The format whose samples these are, as a pack records it; no format's name when they were filtered."""
    is_as_read = all(isinstance(step, StoreAsQoi) for step in dataset.steps)
    return dataset.made_from if is_as_read else _CHANGED


def cut(sizes: Sequence[tuple[int, int]], images: layout.Images, most_samples: int | None = None) -> list[range]:
    """Cut consecutive samples into shards by their number and by bytes on disk; pure.

    Args:
        sizes: (bytes of the image, bytes of its own annotation files) of each sample.
        most_samples: the most samples of one shard; by default a sixteenth of all, at least 256 and at most 4,096.
    """
    least, most = SHARD_SAMPLES
    most_samples = most_samples or min(max(-(-len(sizes) // SHARDS), least), most)
    shards = []
    begin = 0
    image_bytes = annotation_bytes = 0
    for index, (image, annotation) in enumerate(sizes):
        image = image if images == "embed" else 0
        is_full = (
            index - begin >= most_samples
            or image_bytes + image > SHARD_IMAGE_BYTES
            or annotation_bytes + annotation > SHARD_ANNOTATION_BYTES
        )
        if is_full and index > begin:
            shards.append(range(begin, index))
            begin, image_bytes, annotation_bytes = index, 0, 0
        image_bytes += image
        annotation_bytes += annotation
    if begin < len(sizes):
        shards.append(range(begin, len(sizes)))
    return shards
