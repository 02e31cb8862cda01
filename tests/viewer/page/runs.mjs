// Decodes masks that Python wrote, and says what it makes of them; run by test_runs.py.
import { readFileSync } from 'node:fs';

const [library, file] = process.argv.slice(2);
const { decode, encode, paint, paintObject, paintReduced, reduced, stepOf } = await import(library);
const bytes = readFileSync(file);
const masks = decode(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const size = masks.height * masks.width;
const alone = Array.from({ length: masks.count }, (_, object) => {
  const plane = new Uint16Array(size);
  paintObject(masks, object, plane, 1);
  return plane;
});
const plane = new Uint16Array(size);
paint(masks, plane, () => true);
const half = paintReduced(masks, 2, () => true);
const text = (values) => Array.from(values, String);
process.stdout.write(
  JSON.stringify({
    ...Object.fromEntries(['height', 'width', 'hasScores', 'annotated', 'hasMap'].map((name) => [name, masks[name]])),
    ...Object.fromEntries(['bbox', 'area', 'score', 'id', 'frame', 'category', 'flags', 'pixels'].map((name) => [name, text(masks[name])])),
    alone: alone.map((one) => text(one).join('')),
    top: Array.from(plane),
    steps: [[60, 70000], [8192, 8192], [8193, 8192], [32767, 1], [1, 32768], [32768, 32768]].map(([height, width]) => stepOf(height, width)),
    reduced: Array.from(reduced(plane, masks.height, 2)),
    half: { ...half, plane: Array.from(half.plane) },
    encoded: alone.map((one) => encode(one, masks.height, masks.width)),
  }),
);
