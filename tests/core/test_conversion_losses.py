"""Kinds of loss: every loss has one, and a conversion stops for those that were not allowed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.core import conversion_losses
from segdata.errors import LossyConversion, UsageError
from tests.helpers import made
from tests.helpers.command import run_segdata, tree

PACKAGE = Path(segdata.__file__).parent


def dropped_in_code() -> set[str]:
    """The losses that adapters count, with `x` for what they fill in."""
    texts = set()
    for path in (PACKAGE / "formats").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "drop":
                what = node.args[0]
                if isinstance(what, ast.Constant):
                    texts.add(str(what.value))
                elif isinstance(what, ast.JoinedStr):
                    texts.add("".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in what.values))
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "dropped":
                texts |= {str(key.value) for key in getattr(node.value, "keys", ()) if isinstance(key, ast.Constant)}
    return texts


def test_every_loss_has_a_kind() -> None:
    texts = dropped_in_code()
    assert {"image ids", "void pixels", "crowd flags", "objects partly hidden by others in a map of numbers"} <= texts
    assert len(texts) > 40
    general = {  # see below for what stands there
        "category x",
        "x files that do not follow from labelIds",
        "x flags",
        "x wholly hidden by others in a map of numbers",
    }
    assert {text for text in texts - general if conversion_losses.kind_of(text).name == "other"} == set()


@pytest.mark.parametrize(
    ("loss", "kind", "changes_learning"),
    [
        ("objects partly hidden by others in a map of numbers", "hidden-pixels", True),
        ("objects wholly hidden by others in a map of numbers", "objects", True),
        ("masks of objects wholly hidden by others in a map of numbers", "masks", True),
        ("objects of category 'ids'", "categories", True),
        ("objects of categories that have none here: pixels only", "objects", True),
        ("objects (the pixels of their categories remain)", "objects", True),
        ("masks of objects after the first 255", "masks", True),
        ("crowd flags", "crowds", True),
        ("truncated flags", "flags", True),
        ("objects of images that no document of objects lists", "objects", True),
        ("void pixels", "label-maps", True),
        ("notes on objects", "other", True),
        ("category id", "ids", False),
        ("category name", "names", False),
        ("category color", "colors", False),
        ("category supercategory", "supercategories", False),
        ("image ids", "ids", False),
        ("image field 'license'", "licences", False),
        ("document field 'licenses'", "licences", False),
        ("image field 'coco_url'", "urls", False),
        ("image field 'date_captured'", "dates", False),
        ("image field 'blur'", "fields", False),
        ("object field 'updated'", "fields", False),
        ("XML comments", "files", False),
        ("labelTrainIds files that do not follow from labelIds", "files", False),
    ],
)
def test_kinds(loss: str, kind: str, changes_learning: bool) -> None:
    assert conversion_losses.kind_of(loss).name == kind
    assert conversion_losses.kind_of(loss).changes_learning is changes_learning


def refusal(*words: object) -> dict[str, Any]:
    outcome = run_segdata("convert", *words, "--json")
    assert outcome.code == 13, outcome.err
    error: dict[str, Any] = outcome.document["error"]
    return error


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return made.coco(tmp_path / "coco")


def test_the_gravest_come_first_and_no_count_is_lost(source: Path, tmp_path: Path) -> None:
    error = refusal(source, tmp_path / "out", "--to", "voc")
    kinds = [kind["kind"] for kind in error["loss_kinds"]]
    assert kinds == ["crowds", "areas", "polygons", "ids", "supercategories", "licences", "fields"]
    assert [kind["changes_learning"] for kind in error["loss_kinds"]] == [True, True] + 5 * [False]
    assert {loss: item for kind in error["loss_kinds"] for loss, item in kind["losses"].items()} == error["losses"]
    for kind in error["loss_kinds"]:
        assert kind["count"] == sum(item["count"] for item in kind["losses"].values())
    text = run_segdata("convert", source, tmp_path / "out", "--to", "voc").err
    learning, heading, book_keeping = text.partition("book-keeping:")
    assert heading and re.search(r"crowds +1  crowd flags", learning) and re.search(r"ids +3  image ids", book_keeping)


def test_kinds_that_are_allowed_stop_nothing_and_others_do(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    kinds = [kind["kind"] for kind in refusal(source, target, "--to", "voc")["loss_kinds"]]
    error = refusal(source, target, "--to", "voc", "--allow-loss", "ids,licences")
    assert [kind["kind"] for kind in error["loss_kinds"]] == [kind for kind in kinds if kind not in ("ids", "licences")]
    assert f"--allow-loss {','.join(kinds)} " in error["fix"]  # with those that were allowed
    assert not target.exists()
    with pytest.raises(LossyConversion) as raised:
        segdata.convert(source, target, to="voc", allow_loss=[kind for kind in kinds if kind != "crowds"])
    assert raised.value.losses.keys() == {"crowd flags"}
    named = segdata.convert(source, target, to="voc", allow_loss=kinds)
    assert [kind["kind"] for kind in named.loss_kinds] == kinds
    everything = tmp_path / "all"
    assert run_segdata("convert", source, everything, "--to", "voc", "--allow-loss").code == 0
    one, other = tree(everything), tree(target)
    assert one.pop(".segdata.json") and other.pop(".segdata.json") and one == other


def test_the_option_may_stand_anywhere(source: Path, tmp_path: Path) -> None:
    every = ",".join(conversion_losses.NAMES)
    for number, words in enumerate(
        (
            ("--allow-loss", source, "{}", "--to", "voc"),
            (source, "--allow-loss", "{}", "--to", "voc"),
            (source, "{}", "--to", "voc", "--allow-loss"),
            (source, "{}", "--to", "voc", "--allow-loss", "all"),
            ("--allow-loss", every, source, "{}", "--to", "voc"),
            (source, "{}", "--to", "voc", f"--allow-loss={every}"),
        )
    ):
        target = tmp_path / str(number)
        outcome = run_segdata("convert", *(target if word == "{}" else word for word in words))
        assert outcome.code == 0 and (target / "Annotations").is_dir(), outcome.err


@pytest.mark.parametrize("kinds", ["idz", "ids,licenses", "ids,"])
def test_unknown_kinds_are_refused_with_the_list(source: Path, tmp_path: Path, kinds: str) -> None:
    outcome = run_segdata("convert", source, tmp_path / "out", "--to", "voc", "--allow-loss", kinds)
    assert outcome.code == 2 and f"no kind of loss {kinds.split(',')[-1]!r}" in outcome.err
    assert all(f" {name} " in outcome.err for name in conversion_losses.NAMES)
    with pytest.raises(UsageError, match="no kind of loss"):
        segdata.convert(source, tmp_path / "out", to="voc", allow_loss=kinds)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--to", "voc"), 13),
        (("--to", "voc", "--allow-loss", "ids"), 13),
        (("--to", "voc", "--allow-loss"), 0),
        (("--to", "coco"), 0),
        ((), 0),
    ],
)
def test_a_dry_run_ends_as_the_command_would(source: Path, tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    target = tmp_path / "out"
    dry = run_segdata("convert", source, target, "--dry-run", *options)
    document = run_segdata("convert", source, target, "--dry-run", "--json", *options).document
    assert not target.exists()
    assert dry.code == code and f"exit code {code}" in dry.out.splitlines()[-1]
    real = run_segdata("convert", source, target, *options, "--json")
    assert real.code == code and document.get("error") == real.document.get("error")
    assert document["ok"] is (code == 0)
    if code == 0:
        again = run_segdata("convert", source, target, "--dry-run", *options)
        assert again.code == 0 and "nothing to do" in again.out
        made.put(source / "val2017/more.txt", "")
        other = run_segdata("convert", source, target, "--dry-run", *options, "--limit", 1)
        assert other.code == run_segdata("convert", source, target, *options, "--limit", 1).code == 4


def test_what_was_lost_is_kept_in_the_folder_and_shown(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    done = run_segdata("convert", source, target, "--to", "voc", "--allow-loss", "--json").document
    stored = json.loads((target / ".segdata.json").read_text())["report"]["problems"]["losses"]
    document = run_segdata("info", target, "--json").document
    assert document["losses"] == stored == done["problems"]["losses"]
    assert document["loss_kinds"] == done["loss_kinds"] and document["converted_from"] == "coco"
    shown = run_segdata("info", target).err
    assert "lost when it was converted:" in shown and re.search(r"crowds +1  crowd flags", shown)


def test_splits_come_back_as_they_were(source: Path, tmp_path: Path) -> None:
    for to in ("voc", "camvid", "cityscapes", "masks", "coco-panoptic"):
        assert run_segdata("convert", source, tmp_path / to, "--to", to, "--allow-loss").code == 0
        (split,) = run_segdata("info", tmp_path / to, "--json").document["splits"]
        assert split.startswith("val"), to
    back = run_segdata("convert", tmp_path / "voc", tmp_path / "back", "--to", "coco", "--allow-loss")
    assert back.code == 0, back.err
    assert [path.name for path in (tmp_path / "back/annotations").iterdir()] == ["instances_val.json"]


def test_the_document_names_every_kind() -> None:
    text = (PACKAGE.parent / "docs/formats.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", text.partition("## Kinds of loss")[2], re.MULTILINE)
    assert rows == [(kind.name, kind.about) for kind in conversion_losses.KINDS]
