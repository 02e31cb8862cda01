"""Two predictions in Chromium; the numbers are counted by hand from tests/viewer/pair.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.viewer import pair
from tests.viewer.page.browser import Open

IS_THERE = "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false'"


def test_two_predictions_are_compared_on_one_page(open_page: Open, tmp_path: Path) -> None:
    pack, ours, other = pair.make(tmp_path)
    page = open_page(pack, "page=errors", predictions=ours, other=other)
    page.until("document.querySelectorAll('.change table').length === 2")
    rows = page(
        "[...document.querySelectorAll('.change tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert rows == [  # at a score of 0.5 the other predictions miss the dog of image 1
        ["F1", "0.800", "0.600", "+0.200"],
        ["Precision", "0.800", "0.600", "+0.200"],
        ["Recall", "0.800", "0.600", "+0.200"],
        ["Found (TP)", "4", "3", "+1"],
        ["False alarms (FP)", "1", "2", "−1"],
        ["Missed (FN)", "1", "2", "−1"],
        ["cat", "+1", "−1", "−1"],
    ]
    page.go("page=errors&score=0.3")
    page.until("document.querySelector('[data-change=worse]')?.textContent.includes('1')")
    texts = page("[...document.querySelectorAll('[data-change]')].map(link => link.textContent)")
    assert texts == ["▲ better: 1", "▼ worse: 1", "= equal: 2"]
    page("document.querySelector('[data-change=worse]').click()")
    page.until("document.querySelector('.total')?.textContent === '1 of 5'")
    page.until("document.querySelector('.tiles')?.textContent.includes('▼ −1.00')")
    page.go("page=grid&sort=-change&score=0.3")
    page.until("document.querySelector('.tiles')?.textContent.includes('▲ +0.33')")


def test_the_other_predictions_are_drawn(open_page: Open, tmp_path: Path) -> None:
    pack, ours, other = pair.make(tmp_path)
    fragment = "page=sample&sample=3&of=other&color=match&layers=photo,masks&fill=1"
    page = open_page(pack, fragment, predictions=ours, other=other)
    page.until(f"{IS_THERE} && document.querySelector('.legend')?.textContent.includes('(FP) 1')")
    x, y, width, height = pair.PLACES[pair.CAT]
    expected = np.zeros((80, 100), bool)
    expected[y : y + height, x : x + width] = True
    assert np.array_equal(page.overlay("o")[..., 3] > 0, expected)
    page.go("page=sample&sample=3&of=both&color=match")
    names = "[...document.querySelectorAll('.pane-name')].map(name => name.textContent).join()"
    page.until(f"{names} === 'Predictions,Other'")
    legends = "[...document.querySelectorAll('.legend')].map(legend => legend.textContent)"
    page.until(f"{legends}.length === 2")
    texts = page(legends)
    assert "Predictions" in texts[0] and "(FP) 0" in texts[0] and "Other" in texts[1] and "(FP) 1" in texts[1]
    page.go("page=sample&sample=3&of=swipe")
    page.until(f"{names} === 'Predictions | Other'")
