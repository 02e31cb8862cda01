"""The report: one page that holds everything, runs nothing, shows names as text, and counts what can be counted by hand."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from segdata.core.masks import Masks
from segdata.core.sample import Instances
from segdata.metrics.report.outcomes import match_all, mistakes
from segdata.sources.evaluation import open_ground_truth, open_predictions
from segdata.version import __version__
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.metrics.test_pixel_predictions import city, predict

HOSTILE = '<img src=x onerror=alert(1)>"&‮'


class Tags(HTMLParser):
    """Every tag and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def coco(root: Path) -> tuple[Path, Path]:
    """Four squares in two images, one of them a crowd; five detections: two right, a class confused, a void one, a crowd's."""
    document = made.coco_document(2)
    document["categories"][0]["name"] = HOSTILE
    box = {"a": [2, 2, 10, 10], "b": [20, 2, 10, 10], "c": [2, 15, 12, 12]}

    def ring(x: int, y: int, w: int, h: int) -> list[list[int]]:
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]

    document["annotations"] = [
        {
            "id": number + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box[name],
            "area": 100,
            "iscrowd": crowd,
            "segmentation": ring(*box[name]),
        }
        for number, (image, category, name, crowd) in enumerate(
            [(10, 1, "a", 0), (10, 3, "b", 0), (11, 1, "a", 0), (11, 90, "c", 1)]
        )
    ]
    made.coco(root, document)
    detections = [
        (10, 1, box["a"], 0.9),
        (10, 90, box["b"], 0.8),
        (11, 1, [3, 2, 10, 10], 0.7),
        (11, 3, [25, 18, 8, 8], 0.2),
        (11, 90, box["c"], 0.95),
    ]
    records = [dict(zip(("image_id", "category_id", "bbox", "score"), row, strict=True)) for row in detections]
    results = made.put(root.parent / "results.json", json.dumps(records))
    return results, root


def test_detections_are_counted_as_by_hand(tmp_path: Path) -> None:
    results, root = coco(tmp_path / "coco")
    truth = open_ground_truth(root)
    outcomes = match_all(open_predictions(results, truth), truth)
    assert sorted(outcomes.score.tolist()) == [0.2, 0.7, 0.8, 0.9]  # the crowd's is left out
    assert outcomes.score[outcomes.is_right].tolist() == [0.9, 0.7]
    assert outcomes.threshold == 0.7  # F1 = 2·2 / (3 + 3)
    rows = truth.labels.index_of_id
    person, car, brush, nothing = rows[1], rows[3], rows[90], 3
    wanted = np.zeros((4, 4), int)
    wanted[person, person], wanted[car, brush] = 2, 1
    assert np.array_equal(outcomes.confusion(3, 0.7), wanted)
    wanted[nothing, car] = 1
    assert np.array_equal(outcomes.confusion(3, 0.0), wanted)
    recall, precision = outcomes.curve()
    assert np.allclose(recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3]) and np.allclose(precision, [1, 2 / 3, 2 / 3, 0.5])
    errors, f1 = outcomes.errors(2, 0.7)
    assert errors.tolist() == [2, 0] and np.allclose(f1, [0.5, 1.0])


def test_missed_and_wrong_detections_of_an_image_by_hand() -> None:
    """Objects: hit, missed, a crowd. Detections: the hit, one beside, one of another category, one on the crowd."""
    masks = np.zeros((3, 20, 60), np.uint8)
    masks[0, 2:12, 2:12] = masks[1, 2:12, 20:30] = masks[2, 2:18, 40:58] = 1
    objects = Instances.build(np.zeros(3, np.int64), Masks.from_dense(masks), iscrowd=np.array([False, False, True]))
    seen = np.zeros((4, 20, 60), np.uint8)
    seen[0, 2:12, 2:12] = seen[1, 12:18, 10:19] = seen[2, 2:12, 20:30] = seen[3, 4:14, 42:52] = 1
    detections = Instances.build(np.array([0, 0, 1, 0]), Masks.from_dense(seen), score=np.array([0.2, 0.9, 0.8, 0.7]))
    missed, wrong = mistakes(detections, objects, by_mask=True)
    assert missed.tolist() == [False, True, False] and wrong.tolist() == [False, True, True, False]
    missed, wrong = mistakes(detections.take(np.zeros(0, np.int64)), objects, by_mask=True)
    assert missed.tolist() == [True, True, False] and not len(wrong)


def test_the_page_holds_everything_and_runs_nothing(tmp_path: Path) -> None:
    results, root = coco(tmp_path / "coco")
    outcome_ = run_segdata("evaluate", results, root, "--report", tmp_path / "report", "--json")
    assert outcome_.code == 0, outcome_.err
    assert outcome_.document["report"] == str(tmp_path / "report/index.html")
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
    page = (tmp_path / "report/index.html").read_text()
    tags = Tags(page)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in tags.tags}
    assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
    sources = [attributes["src"] or "" for tag, attributes in tags.tags if tag == "img"]
    assert len(sources) == 2 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", page) and "url(http" not in page
    assert "<img src=x" in tags.text and "‮" not in page
    for text in ("Categories", "Detections", "Precision and recall", "Scores", "Objects found, by size", "Confusion"):
        assert text in tags.text
    assert "2 wrong or missed, F1 0.50" in tags.text
    again = tmp_path / "again"
    assert run_segdata("evaluate", results, root, "--report", again).code == 0
    facts = re.compile(r'<dl class="facts">.*?</dl>', re.DOTALL)  # when and by which command
    assert facts.sub("", (again / "index.html").read_text()) == facts.sub("", page)
    (head,) = facts.findall(page)
    assert "segdata evaluate" in head and __version__ in head and str(tmp_path) not in head.partition("<dt>command")[2]


def test_label_maps_have_a_page_too(tmp_path: Path) -> None:
    def worse(ids: np.ndarray) -> np.ndarray:
        return np.where((ids == 23) & (np.arange(ids.shape[1]) < 6), 11, ids).astype(np.uint8)

    predictions, truth = predict(tmp_path / "p", change=worse), city(tmp_path / "city")
    outcome_ = run_segdata("evaluate", predictions, truth, "--report", tmp_path / "report")
    assert outcome_.code == 0, outcome_.err
    text = Tags((tmp_path / "report/index.html").read_text()).text
    # 10 rows of 6 of 2,400 pixels are wrong: 60 of the sky's 600.
    assert "97.5% right pixels" in text and "wrong pixels" in text
    assert re.search(r"sky\s*building\s*120\s*10\.0%", text)
