// @ts-check
/** A mask that is being drawn: pixels column by column, its steps, and a canvas of them. */

import { encode, packed, paintObject } from './runs.js';

const MOST_STEPS = 200;

/** @typedef {{frame: [number, number, number, number], runs: number[]}} Written */

/**
 * Sets the pixels of written runs.
 *
 * @param {Written} written
 * @param {Uint8Array} plane [width · height] column by column
 * @param {number} height of the image
 */
function paintWritten({ frame, runs }, plane, height) {
  const masks = /** @type {any} */ ({ height, runs, pointer: [0, runs.length], frame });
  paintObject(masks, 0, plane, 1);
}

export class Draft {
  /**
   * @param {number} height of the image
   * @param {number} width
   * @param {readonly number[]} color RGB
   */
  constructor(height, width, color) {
    this.height = height;
    this.width = width;
    this.plane = new Uint8Array(height * width);
    this.canvas = document.createElement('canvas'); // transposed, as the plane is
    this.canvas.width = height;
    this.canvas.height = width;
    /** @type {Written[]} */
    this.past = [];
    /** @type {Written[]} */
    this.future = [];
    this.color = color;
  }

  /** @param {readonly number[]} color */
  recolor(color) {
    this.color = color;
    this.show();
  }

  /** What a step changes begins here, so that it can be undone. */
  begin() {
    this.past.push(this.written());
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
  }

  /** @returns {Written} */
  written() {
    return encode(this.plane, this.height, this.width);
  }

  get isEmpty() {
    return !this.plane.includes(1);
  }

  /** @param {Written} written replaces all pixels */
  put(written) {
    this.plane.fill(0);
    paintWritten(written, this.plane, this.height);
    this.show();
  }

  /** Replaces all pixels by those of an object. @param {import('./runs.js').Masks} masks @param {number} object */
  take(masks, object) {
    this.plane.fill(0);
    paintObject(masks, object, this.plane, 1);
    this.show();
  }

  /** @returns {boolean} whether there was a step to take back */
  undo() {
    const before = this.past.pop();
    if (!before) return false;
    this.future.push(this.written());
    this.put(before);
    return true;
  }

  /** @returns {boolean} */
  redo() {
    const after = this.future.pop();
    if (!after) return false;
    this.past.push(this.written());
    this.put(after);
    return true;
  }

  /**
   * Sets the pixels whose middle is at most `radius` from a line.
   *
   * @param {number[]} from x y, pixels of the image
   * @param {number[]} to
   * @param {number} radius
   * @param {0 | 1} value
   */
  stroke(from, to, radius, value) {
    const [ax, ay] = from;
    const [bx, by] = [to[0] - ax, to[1] - ay];
    const long = bx * bx + by * by;
    const left = Math.max(0, Math.floor(Math.min(ax, to[0]) - radius));
    const right = Math.min(this.width - 1, Math.ceil(Math.max(ax, to[0]) + radius));
    const top = Math.max(0, Math.floor(Math.min(ay, to[1]) - radius));
    const bottom = Math.min(this.height - 1, Math.ceil(Math.max(ay, to[1]) + radius));
    for (let x = left; x <= right; x++) {
      for (let y = top; y <= bottom; y++) {
        const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
        const along = long ? Math.max(0, Math.min(1, (px * bx + py * by) / long)) : 0;
        if (Math.hypot(px - along * bx, py - along * by) <= radius) this.plane[x * this.height + y] = value;
      }
    }
    this.show(left, top, right + 1, bottom + 1);
  }

  /** Draws a part of the pixels onto the canvas. */
  show(left = 0, top = 0, right = this.width, bottom = this.height) {
    const x0 = Math.max(0, left - 1);
    const y0 = Math.max(0, top - 1);
    const wide = Math.min(this.width, right + 1) - x0;
    const high = Math.min(this.height, bottom + 1) - y0;
    if (wide <= 0 || high <= 0) return;
    const image = new ImageData(high, wide);
    const pixels = new Uint32Array(image.data.buffer);
    const fill = packed(this.color, 0.5);
    const line = packed([255, 255, 255], 1);
    const { plane, height } = this;
    for (let x = x0; x < x0 + wide; x++) {
      for (let y = y0; y < y0 + high; y++) {
        const i = x * height + y;
        if (!plane[i]) continue;
        const isInside = plane[i - height] && plane[i + height] && y > 0 && plane[i - 1] && y < height - 1 && plane[i + 1];
        pixels[(x - x0) * high + (y - y0)] = isInside ? fill : line;
      }
    }
    /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d')).putImageData(image, y0, x0);
  }
}
