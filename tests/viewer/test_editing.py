"""Corrections over HTTP: a server writes edits, shows them, and proposes masks."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import InvalidInput, LockHeld, UsageError
from tests.correction import independent
from tests.helpers.command import tree
from tests.test_repository import ROOT
from tests.viewer.client import Client, dense, masks

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")


@pytest.fixture
def editor(pack: Path, tmp_path: Path) -> Iterator[Client]:
    viewer = segdata.view(pack, edits=tmp_path / "edits.jsonl")
    yield Client(viewer.address)
    viewer.stop()


def post(client: Client, name: str, document: dict[str, Any], **headers: str) -> Any:
    client.get("facets")
    return client.post(f"/api/{name}?v={client.version}", document, **headers)


def first_with_objects(pack: Path) -> int:
    return next(index for index, sample in enumerate(segdata.open(pack)) if len(sample.instances) > 1)


def square(pack: Path, index: int, at: int = 1, side: int = 4) -> tuple[np.ndarray, dict[str, Any]]:
    sample = segdata.open(pack)[index]
    mask = np.zeros((sample.height, sample.width), bool)
    mask[at : at + side, at : at + side] = True
    return mask, independent.runs_of(mask)


def test_edits_are_shown_and_applied(pack: Path, editor: Client, tmp_path: Path) -> None:
    before = tree(pack)
    i = first_with_objects(pack)
    old = dense(masks(editor.get(f"masks/{i}").body))
    assert editor.get("pack").document["edits"] == {"file": "edits.jsonl", "last": 0}
    assert editor.get(f"edits/{i}").document == {
        "last": 0,
        "objects": [str(row) for row in range(len(old))],
        "edits": [],
    }
    mask, sent = square(pack, i)
    answers = [
        post(editor, "edits", {"i": i, "after": 0, "op": "mask", "of": "0", **sent, "tool": {"name": "brush"}}),
        post(editor, "edits", {"i": i, "after": 1, "op": "add", "category": 1, **sent}),
        post(editor, "edits", {"i": i, "after": 2, "op": "delete", "of": "1"}),
    ]
    assert [answer.document for answer in answers] == [{"n": 1}, {"n": 2}, {"n": 3}]
    answer = editor.get(f"masks/{i}")
    shown = dense(masks(answer.body)).astype(bool)
    assert answer.headers["x-segdata-edits"] == "3"
    assert np.array_equal(shown, [mask, *old[2:].astype(bool), mask])
    state = editor.get(f"edits/{i}").document
    assert state["last"] == 3 and state["objects"] == ["0", *map(str, range(2, len(old))), "new-2"]
    assert [edit["undone"] for edit in state["edits"]] == [False] * 3
    segdata.apply(tmp_path / "edits.jsonl", pack, tmp_path / "out")
    assert np.array_equal(segdata.open(tmp_path / "out")[i].instances.masks.dense() != 0, shown)
    assert tree(pack) == before


def test_undo_and_redo(pack: Path, editor: Client) -> None:
    i = first_with_objects(pack)
    old = editor.get(f"masks/{i}").body
    post(editor, "edits", {"i": i, "after": 0, "op": "delete", "of": "0"})
    changed = editor.get(f"masks/{i}").body
    states = []
    for n in range(1, 6):
        assert post(editor, "edits", {"i": i, "after": n, "op": "undo", "of": n}).status == 200
        states.append(editor.get(f"masks/{i}").body == (old if n % 2 else changed))
    assert all(states) and old != changed
    edits = editor.get(f"edits/{i}").document["edits"]
    assert [edit["undone"] for edit in edits] == [True, True, True, True, True, False]


def test_two_pages_on_one_image(pack: Path, editor: Client) -> None:
    i = first_with_objects(pack)
    assert post(editor, "edits", {"i": i, "after": 0, "op": "delete", "of": "0"}).status == 200
    stale = post(editor, "edits", {"i": i, "after": 0, "op": "delete", "of": "1"})
    assert stale.status == 409 and stale.document["last"] == 1
    assert [edit["op"] for edit in stale.document["edits"]] == ["delete"] and stale.document["error"]["message"]
    assert post(editor, "edits", {"i": i, "after": 1, "op": "delete", "of": "1"}).status == 200


def test_what_is_refused(pack: Path, editor: Client, client: Client, tmp_path: Path) -> None:
    i = first_with_objects(pack)
    good = {"i": i, "after": 0, "op": "delete", "of": "0"}
    before = (tmp_path / "edits.jsonl").read_bytes()
    for document, status in (
        ({**good, "of": "999"}, 422),
        ({**good, "op": "paint"}, 422),
        ({**good, "i": 10**6}, 404),
        ({**good, "i": "x"}, 400),
        ({**good, "key": "other"}, 400),
        ({**good, "op": "mask", "frame": [0, 0, 9999, 1], "runs": ""}, 422),
        ([], 400),
    ):
        assert post(editor, "edits", document).status == status, document  # type: ignore[arg-type]
    assert post(editor, "edits", good, Origin="http://example.org").status == 403
    assert post(editor, "edits", good, X_Segdata_Token="x").status == 401
    assert post(editor, "edits", good, Content_Type="text/plain").status == 415
    assert editor.post("/api/edits?v=00000000", good).status == 410
    for name in ("edits", "tool/fill"):
        answer = editor.get(name)
        assert answer.status == 405 and answer.headers["allow"] == "POST" and "POST" in answer.document["error"]["fix"]
    assert post(editor, "tool/nothing", {"i": i}).status == 404
    assert post(editor, "tool/fill", {"i": i}).status == 400
    assert post(client, "edits", good).status == 404 and client.get(f"edits/{i}").status == 404
    assert client.get("pack").document["edits"] is None
    assert (tmp_path / "edits.jsonl").read_bytes() == before


def test_tools(pack: Path, editor: Client) -> None:
    i = first_with_objects(pack)
    sample = segdata.open(pack)[i]
    size = sample.height, sample.width
    assert {"grabcut", "polygon", "fill", "largest", "grow"} <= set(editor.get("pack").document["tools"])
    ring = np.zeros(size, bool)
    ring[2:9, 2:9] = True
    ring[4:7, 4:7] = False
    whole = ring.copy()
    whole[4:7, 4:7] = True
    ring[size[0] - 1, size[1] - 1] = whole[size[0] - 1, size[1] - 1] = True
    sent = independent.runs_of(ring)

    def proposed(name: str, **ask: Any) -> np.ndarray:
        answer = post(editor, f"tool/{name}", {"i": i, **ask})
        assert answer.status == 200, answer.body
        (mask,) = dense(masks(answer.body))
        return np.asarray(mask != 0)

    assert np.array_equal(proposed("fill", mask=sent), whole)
    part = ring.copy()
    part[size[0] - 1, size[1] - 1] = False
    assert np.array_equal(proposed("largest", mask=sent), part)
    assert proposed("grow", mask=sent, by=1).sum() > ring.sum() > proposed("grow", mask=sent, by=-0.9).sum() - 1
    assert proposed("polygon", rings=[[2, 2, 9, 2, 9, 9, 2, 9]])[2:9, 2:9].all()
    strokes = {"foreground": [[[5, 5], [6, 6]]], "background": [[[1, 1]]]}
    cut = proposed("grabcut", box=[2, 2, 8, 8], radius=1, **strokes)
    assert cut[5, 5] and not cut[1, 1] and cut.shape == size
    assert post(editor, "tool/grabcut", {"i": i, "box": [500, 500, 2, 2]}).status == 400


def test_a_prediction_becomes_an_object(pack: Path, dataset: tuple[Path, Path], tmp_path: Path) -> None:
    viewer = segdata.view(pack, dataset[1], edits=tmp_path / "edits.jsonl")
    try:
        client = Client(viewer.address)
        i, predicted = next(
            (i, found)
            for i in range(len(segdata.open(pack)))
            if (found := masks(client.get(f"masks/{i}", of="predictions").body))["frame"][:, 2].any()
        )
        row = int(np.flatnonzero(predicted["frame"][:, 2])[0])
        assert post(client, "edits", {"i": i, "after": 0, "op": "accept", "prediction": row}).status == 200
        shown = masks(client.get(f"masks/{i}").body)
        assert np.array_equal(dense(shown)[-1], dense(predicted)[row])
        assert shown["category"][-1] == predicted["category"][row]
        assert post(client, "edits", {"i": i, "after": 1, "op": "accept", "prediction": 10**6}).status == 404
    finally:
        viewer.stop()
    line = json.loads((tmp_path / "edits.jsonl").read_bytes().splitlines()[1])
    assert line["prediction"]["of"] == row and line["prediction"]["score"] == predicted["score"][row]
    assert np.frombuffer(base64.b64decode(line["runs"]), "<u2").sum() == np.prod(predicted["frame"][row][2:])


def test_one_server_at_a_time_and_never_in_the_pack(pack: Path, editor: Client, tmp_path: Path) -> None:
    with pytest.raises(LockHeld) as held:
        segdata.view(pack, edits=tmp_path / "edits.jsonl")
    assert held.value.fix is not None and "--edits FILE" in held.value.fix and "--wait" not in held.value.fix
    with pytest.raises(UsageError):
        segdata.view(pack, edits=pack / "edits.jsonl")
    with pytest.raises(UsageError):
        segdata.view(pack, model=tmp_path)
    (tmp_path / "other.jsonl").write_bytes(independent.line({**independent.header(pack), "pack": "00000000"}))
    with pytest.raises(InvalidInput, match="another pack"):
        segdata.view(pack, edits=tmp_path / "other.jsonl")


def test_a_killed_server_has_written_what_it_answered(pack: Path, tmp_path: Path) -> None:
    i = first_with_objects(pack)
    file = tmp_path / "edits.jsonl"
    command = [sys.executable, "-m", "segdata", "view", str(pack), "--edits", str(file), "--no-open"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        client = Client(process.stdout.readline().strip())
        for n in range(5):
            assert post(client, "edits", {"i": i, "after": n, "op": "note", "text": "x"}).document == {"n": n + 1}
        process.send_signal(signal.SIGKILL)
    assert len(file.read_bytes().splitlines()) == 6
    with file.open("ab") as torn:
        torn.write(b'{"n":6,')
    viewer = segdata.view(pack, edits=file)
    try:
        assert Client(viewer.address).get(f"edits/{i}").document["last"] == 5
        assert "7 bytes of a torn last line" in " ".join(viewer.remarks)
    finally:
        viewer.stop()
