// @ts-check
/** The drawn objects of one side (truth or predictions): a plane of who is on top, and a canvas of its colours. */

import { HAS_MASK, packed, paint, paintObject, paintOrder, reduced, stepOf, tint, tintMap } from './runs.js';

/** Colours of matches, which colour-blind people tell apart, and a sign for each. */
export const MATCH = {
  tp: { color: [86, 180, 233], sign: '✓', name: 'found (TP)' },
  fp: { color: [240, 160, 20], sign: '+', name: 'false alarm (FP)' },
  fn: { color: [221, 120, 180], sign: '−', name: 'missed (FN)' },
  none: { color: [150, 150, 150], sign: '·', name: 'not counted' },
};

const MOST = 65534; // objects that a plane of 16 bits tells apart

/** Colour of an object by its number: hues by the golden angle, two lightnesses. @param {number} object */
export function objectColor(object) {
  const hue = (object * 137.508 + 20) % 360;
  const light = object % 2 ? 0.66 : 0.55;
  const spread = 0.85 * Math.min(light, 1 - light);
  /** @param {number} n */
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** @param {readonly number[]} rgb */
export const css = (rgb) => `rgb(${rgb[0]}, ${rgb[1]}, ${rgb[2]})`;

/** Black or white, whichever reads better on a colour. @param {readonly number[]} rgb */
export const ink = (rgb) => (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140 ? '#000' : '#fff');

export class Overlay {
  /**
   * @param {import('./runs.js').Masks} masks
   * @param {HTMLCanvasElement} canvas made as high as the image is wide, and as wide as it is high
   * @param {'t' | 'p' | 'o'} side
   */
  constructor(masks, canvas, side) {
    this.masks = masks;
    this.side = side;
    this.canvas = canvas;
    this.order = paintOrder(masks);
    this.plane = new Uint16Array(masks.height * masks.width);
    this.step = stepOf(masks.height, masks.width);
    canvas.width = Math.ceil(masks.height / this.step);
    canvas.height = Math.ceil(masks.width / this.step);
    this.image = new ImageData(canvas.width, canvas.height);
    this.tops = topsOf(masks);
    /** @type {boolean[]} */
    this.shown = [];
    /** @type {number[][]} */
    this.colors = [];
    this.painted = '';
  }

  /**
   * @param {boolean[]} shown per object
   * @param {number[][]} colors per object
   * @param {{fill: number, thick: number}} look opacity inside, pixels of the border
   */
  paint(shown, colors, { fill, thick }) {
    const { masks } = this;
    const which = shown.join();
    if (which !== this.painted) {
      paint(masks, this.plane, (object) => shown[object] && object < MOST, this.order);
      this.painted = which;
    }
    this.shown = shown;
    this.colors = colors;
    const fills = new Uint32Array(masks.count + 1);
    const lines = new Uint32Array(masks.count + 1);
    for (let object = 0; object < masks.count; object++) {
      fills[object + 1] = packed(colors[object], fill);
      lines[object + 1] = packed(colors[object], 1);
    }
    const plane = reduced(this.plane, masks.height, this.step);
    tint(plane, this.canvas.width, new Uint32Array(this.image.data.buffer), fills, lines, thick);
    /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d')).putImageData(this.image, 0, 0);
  }

  /** The object on top at a pixel, −1 for none; of objects without mask the smallest box. @param {number} x @param {number} y */
  at(x, y) {
    const { masks } = this;
    if (x < 0 || y < 0 || x >= masks.width || y >= masks.height) return -1;
    const value = this.plane[x * masks.height + y];
    if (value) return value - 1;
    let best = -1;
    let least = Infinity;
    for (let object = 0; object < masks.count; object++) {
      if (masks.flags[object] & HAS_MASK || !this.shown[object]) continue;
      const [left, top, wide, high] = this.box(object);
      if (x < left || y < top || x >= left + wide || y >= top + high || wide * high >= least) continue;
      best = object;
      least = wide * high;
    }
    return best;
  }

  /** x y width height: the mask's frame, else the annotated box. @param {number} object */
  box(object) {
    const { frame, bbox, flags } = this.masks;
    const from = flags[object] & HAS_MASK ? frame : bbox;
    return [from[4 * object], from[4 * object + 1], from[4 * object + 2], from[4 * object + 3]];
  }

  /** One object's whole mask, also where others cover it: a transposed canvas of its frame, `step` to one. @param {number} object */
  alone(object) {
    const [, , wide, high] = this.masks.frame.subarray(4 * object, 4 * object + 4);
    if (!wide || !high) return null;
    const plane = new Uint16Array(wide * high);
    paintObject(this.masks, object, plane, 1, true);
    const image = new ImageData(Math.ceil(high / this.step), Math.ceil(wide / this.step));
    const fills = Uint32Array.of(0, packed(this.colors[object] ?? [255, 255, 255], 0.65));
    tint(reduced(plane, high, this.step), image.width, new Uint32Array(image.data.buffer), fills, Uint32Array.of(0, packed([255, 255, 255], 1)), 1);
    const canvas = new OffscreenCanvas(image.width, image.height);
    /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d')).putImageData(image, 0, 0);
    return canvas;
  }
}

/** The uppermost pixel of each mask, in the middle where it has several: [2 · N] x y. @param {import('./runs.js').Masks} masks */
function topsOf(masks) {
  const { runs, pointer, frame, count } = masks;
  const tops = new Int32Array(2 * count);
  for (let object = 0; object < count; object++) {
    const tall = Math.max(1, frame[4 * object + 3]);
    let first = -1;
    let last = -1;
    let at = 0;
    for (let run = pointer[object]; run < pointer[object + 1]; run++) {
      const isInside = (run - pointer[object]) % 2 === 1;
      if (isInside && runs[run]) {
        // columns whose first row this run covers
        const from = Math.ceil(at / tall);
        const to = Math.floor((at + runs[run] - 1) / tall);
        if (from <= to) {
          if (first < 0) first = from;
          last = to;
        }
      }
      at += runs[run];
    }
    tops[2 * object] = frame[4 * object] + Math.round((first + last) / 2);
    tops[2 * object + 1] = frame[4 * object + 1];
  }
  return tops;
}

/** A label map: its values, and a canvas of its colours. */
export class LabelMap {
  /**
   * @param {Uint8Array | Uint16Array} values [height · width] row by row
   * @param {number} height
   * @param {number} width
   * @param {HTMLCanvasElement} canvas
   */
  constructor(values, height, width, canvas) {
    this.values = values;
    this.height = height;
    this.width = width;
    this.canvas = canvas;
    this.step = stepOf(height, width);
    canvas.width = Math.ceil(width / this.step);
    canvas.height = Math.ceil(height / this.step);
    const counts = new Uint32Array(65536);
    for (const value of values) counts[value]++;
    /** @type {[number, number][]} category index (void, too) and its share of the image, the largest first */
    this.shares = [];
    counts.forEach((count, index) => count && this.shares.push([index, count / values.length]));
    this.shares.sort((a, b) => b[1] - a[1]);
  }

  /** @param {number[][]} colors of categories @param {boolean[]} shown of categories */
  paint(colors, shown) {
    this.canvas.dataset.painted = 'yes';
    const image = new ImageData(this.canvas.width, this.canvas.height);
    const table = Uint32Array.from(colors, (color, index) => (shown[index] ? packed(color, 1) : 0));
    tintMap(reduced(this.values, this.width, this.step), new Uint32Array(image.data.buffer), table);
    /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d')).putImageData(image, 0, 0);
  }

  /** @param {number} x @param {number} y @returns {number} category index or void, −1 outside */
  at(x, y) {
    return x < 0 || y < 0 || x >= this.width || y >= this.height ? -1 : this.values[y * this.width + x];
  }
}
