// @ts-check
/**
 * Masks as the server sends them: decoded into columns, painted into a plane, tinted into pixels.
 *
 * A plane holds which object is on top at each pixel: object number + 1, 0 where there is none. Run lengths go down the
 * columns, so the plane lies column by column, too (pixel (x, y) at x · height + y), and a run is one `fill`. A canvas of
 * it is transposed: `height` wide and `width` high; whoever draws it swaps the axes.
 *
 * No DOM here, so that `node --test` can run it.
 */

export const CROWD = 1;
export const DIFFICULT = 2;
export const TRUNCATED = 4;
export const OCCLUDED = 8;
export const HAS_MASK = 16;

const MAGIC = 0x314d4753; // "SGM1", little-endian

/**
 * The objects of one image, as columns.
 *
 * @typedef {object} Masks
 * @property {number} count number of objects N
 * @property {number} height of the image, pixels
 * @property {number} width of the image, pixels
 * @property {boolean} hasScores
 * @property {boolean} annotated whether objects were annotated at all
 * @property {boolean} hasMap whether the image has a label map
 * @property {Float64Array} bbox [N · 4] x y width height, NaN where there is none
 * @property {Float64Array} area [N] as annotated, NaN where there is none
 * @property {Float64Array} score [N] NaN where there is none
 * @property {BigInt64Array} id [N] the source's number
 * @property {Int32Array} frame [N · 4] x y width height of the box that the runs fill
 * @property {Uint32Array} pointer [N + 1] object i owns runs[pointer[i]] … runs[pointer[i + 1] − 1]
 * @property {Uint16Array} category [N] index in the label space
 * @property {Uint16Array} runs zeros, ones, zeros …, column by column inside the frame
 * @property {Uint8Array} flags [N] see CROWD … HAS_MASK
 * @property {Uint32Array} pixels [N] counted from the runs
 */

/**
 * @param {ArrayBuffer} buffer the answer of /api/masks
 * @returns {Masks}
 */
export function decode(buffer) {
  const head = new DataView(buffer);
  if (buffer.byteLength < 24 || head.getUint32(0, true) !== MAGIC) throw new Error('not a file of masks');
  const count = head.getUint32(4, true);
  const length = head.getUint32(8, true);
  const bits = head.getUint32(20, true);
  if (buffer.byteLength !== 24 + 79 * count + 4 + 2 * length) throw new Error('masks are cut short');
  let at = 24;
  /** @type {<T>(kind: new (buffer: ArrayBuffer, at: number, count: number) => T, many: number, bytes: number) => T} */
  const column = (kind, many, bytes) => {
    const part = new kind(buffer, at, many);
    at += many * bytes;
    return part;
  };
  const masks = {
    count,
    height: head.getUint32(12, true),
    width: head.getUint32(16, true),
    hasScores: (bits & 1) !== 0,
    annotated: (bits & 2) !== 0,
    hasMap: (bits & 4) !== 0,
    bbox: column(Float64Array, 4 * count, 8),
    area: column(Float64Array, count, 8),
    score: column(Float64Array, count, 8),
    id: column(BigInt64Array, count, 8),
    frame: column(Int32Array, 4 * count, 4),
    pointer: column(Uint32Array, count + 1, 4),
    category: column(Uint16Array, count, 2),
    runs: column(Uint16Array, length, 2),
    flags: column(Uint8Array, count, 1),
    pixels: new Uint32Array(count),
  };
  for (let object = 0; object < count; object++) {
    let sum = 0;
    for (let run = masks.pointer[object] + 1; run < masks.pointer[object + 1]; run += 2) sum += masks.runs[run];
    masks.pixels[object] = sum;
  }
  return masks;
}

/** Whether the label map is all that can be painted. @param {Masks} masks */
export const isMapAlone = (masks) => masks.hasMap && !masks.flags.some((bits) => bits & HAS_MASK);

/**
 * Objects from the largest to the smallest; of equal ones the first comes last, so that it ends on top.
 *
 * @param {Masks} masks
 * @returns {Uint32Array} object numbers
 */
export function paintOrder(masks) {
  const order = Uint32Array.from({ length: masks.count }, (_, object) => object);
  return order.sort((a, b) => masks.pixels[b] - masks.pixels[a] || b - a);
}

/**
 * Sets the pixels of one object.
 *
 * @param {Masks} masks
 * @param {number} object
 * @param {Uint16Array | Uint8Array} plane column by column, of the size of the image, or of the frame with `own`
 * @param {number} value what to set
 * @param {boolean} [own] the plane is as large as the object's frame
 */
export function paintObject(masks, object, plane, value, own = false) {
  const { runs, pointer, frame } = masks;
  const tall = frame[4 * object + 3];
  const height = own ? tall : masks.height;
  const end = pointer[object + 1];
  let column = own ? 0 : frame[4 * object] * height + frame[4 * object + 1];
  let y = 0;
  let inside = false;
  for (let run = pointer[object]; run < end; run++, inside = !inside) {
    let left = runs[run];
    while (left > 0) {
      const take = Math.min(left, tall - y);
      if (inside) {
        const start = column + y;
        if (take < 16) for (let i = start; i < start + take; i++) plane[i] = value;
        else plane.fill(value, start, start + take);
      }
      left -= take;
      y += take;
      if (y === tall) {
        y = 0;
        column += height;
      }
    }
  }
}

/**
 * Paints all shown objects, the smaller over the larger.
 *
 * @param {Masks} masks
 * @param {Uint16Array} plane [width · height] column by column; overwritten
 * @param {(object: number) => boolean} isShown
 * @param {Uint32Array} [order] of painting
 */
export function paint(masks, plane, isShown, order = paintOrder(masks)) {
  plane.fill(0);
  for (const object of order) if (isShown(object)) paintObject(masks, object, plane, object + 1);
}

/**
 * Paints shown objects on every `step`-th pixel of every `step`-th column, for small pictures.
 *
 * @param {Masks} masks
 * @param {number} step
 * @param {(object: number) => boolean} isShown
 * @returns {{plane: Uint16Array, height: number, width: number}} column by column
 */
export function paintReduced(masks, step, isShown) {
  const height = Math.ceil(masks.height / step);
  const width = Math.ceil(masks.width / step);
  const plane = new Uint16Array(height * width);
  const { runs, pointer, frame } = masks;
  for (const object of paintOrder(masks)) {
    if (!isShown(object)) continue;
    const top = frame[4 * object + 1];
    const tall = frame[4 * object + 3];
    let x = frame[4 * object];
    let y = 0;
    let inside = false;
    for (let run = pointer[object]; run < pointer[object + 1]; run++, inside = !inside) {
      let left = runs[run];
      while (left > 0) {
        const take = Math.min(left, tall - y);
        if (inside && x % step === 0) {
          const column = (x / step) * height;
          plane.fill(object + 1, column + Math.ceil((top + y) / step), column + Math.ceil((top + y + take) / step));
        }
        left -= take;
        y += take;
        if (y === tall) {
          y = 0;
          x++;
        }
      }
    }
  }
  return { plane, height, width };
}

const LONGEST = 32_767; // pixels of a side that browsers draw on a canvas
const MOST = 1 << 26; // pixels of a canvas that still leave memory for the rest

/**
 * Of which every how-many-th pixel and column an image is shown: browsers draw no larger ones. 1 for all of them.
 *
 * @param {number} height
 * @param {number} width
 */
export function stepOf(height, width) {
  let step = Math.max(1, Math.ceil(Math.max(height, width) / LONGEST));
  while (Math.ceil(height / step) * Math.ceil(width / step) > MOST) step++;
  return step;
}

/**
 * Every `step`-th value of every `step`-th line of a plane, whose lines have `length` values.
 *
 * @template {Uint8Array | Uint16Array} P
 * @param {P} plane
 * @param {number} length
 * @param {number} step
 * @returns {P} the plane itself for a step of 1
 */
export function reduced(plane, length, step) {
  if (step === 1) return plane;
  const lines = Math.ceil(plane.length / length / step);
  const short = Math.ceil(length / step);
  const small = /** @type {P} */ (new /** @type {any} */ (plane.constructor)(lines * short));
  for (let line = 0; line < lines; line++) {
    for (let at = 0; at < short; at++) small[line * short + at] = plane[line * step * length + at * step];
  }
  return small;
}

/**
 * Turns a plane into colours: inside an object its fill, on its border its line.
 *
 * @param {Uint16Array} plane [width · height] column by column
 * @param {number} height of the image
 * @param {Uint32Array} pixels as large as the plane, RGBA as a little-endian number; overwritten
 * @param {Uint32Array} fills colour of value v at v; [0] is the colour of pixels without object
 * @param {Uint32Array} lines colour of the border
 * @param {number} thick width of the border in pixels; 0 for none
 */
export function tint(plane, height, pixels, fills, lines, thick) {
  const size = plane.length;
  if (thick <= 0) {
    for (let i = 0; i < size; i++) pixels[i] = fills[plane[i]];
    return;
  }
  const far = thick * height;
  for (let column = 0; column < size; column += height) {
    const isEdge = column < far || column >= size - far;
    for (let y = 0; y < height; y++) {
      const i = column + y;
      const value = plane[i];
      if (value === 0) {
        pixels[i] = fills[0];
        continue;
      }
      const isBorder =
        isEdge || // so that nothing is read beyond the plane, which is slow
        y < thick ||
        y >= height - thick ||
        plane[i - 1] !== value ||
        plane[i + 1] !== value ||
        plane[i - height] !== value ||
        plane[i + height] !== value ||
        (thick > 1 && (plane[i - far] !== value || plane[i + far] !== value || plane[i - thick] !== value || plane[i + thick] !== value));
      pixels[i] = isBorder ? lines[value] : fills[value];
    }
  }
}

/**
 * @param {readonly number[]} rgb 0 … 255
 * @param {number} alpha 0 … 1
 * @returns {number} RGBA as a little-endian number
 */
export function packed(rgb, alpha) {
  return ((Math.round(alpha * 255) << 24) | (rgb[2] << 16) | (rgb[1] << 8) | rgb[0]) >>> 0;
}

/**
 * A label map as colours, row by row.
 *
 * @param {Uint8Array | Uint16Array} map [height · width] category indices, row by row
 * @param {Uint32Array} pixels as large; overwritten
 * @param {Uint32Array} colours of category c at c; a category beyond it (void) is left out
 */
export function tintMap(map, pixels, colours) {
  for (let i = 0; i < map.length; i++) pixels[i] = map[i] < colours.length ? colours[map[i]] : 0;
}

/**
 * Run lengths of a mask that was drawn, as edits need them.
 *
 * @param {Uint8Array | Uint16Array} plane [width · height] column by column; other than 0 is inside
 * @param {number} height of the image
 * @param {number} width of the image
 * @returns {{frame: [number, number, number, number], runs: number[]}} frame x y width height; all 0 for an empty mask
 */
export function encode(plane, height, width) {
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (plane[x * height + y] === 0) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
  }
  if (right < 0) return { frame: [0, 0, 0, 0], runs: [] };
  /** @type {number[]} */
  const runs = [];
  let isInside = false;
  let length = 0;
  const close = () => {
    for (; length > 65535; length -= 65535) runs.push(65535, 0);
    runs.push(length);
    length = 0;
    isInside = !isInside;
  };
  for (let x = left; x <= right; x++) {
    for (let y = top; y <= bottom; y++) {
      if ((plane[x * height + y] !== 0) !== isInside) close();
      length++;
    }
  }
  close();
  return { frame: [left, top, right - left + 1, bottom - top + 1], runs };
}
