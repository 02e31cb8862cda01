// @ts-check
/**
 * Corrections of one image. Nothing is changed in the pack: every saved step is a line of the edits file on the server, and
 * an undo is one more line. What is being drawn is a draft in the browser until it is saved.
 */

import { ServerError, isAbort, json, post } from '../server.js';
import { Draft } from './draft.js';
import { decode } from './runs.js';

/** @typedef {'select' | 'box' | 'fore' | 'back' | 'brush' | 'eraser' | 'polygon'} Tool */

/** @param {number[]} runs @returns {string} base64 of u2, little-endian */
export function packedRuns(runs) {
  const bytes = new Uint8Array(new Uint16Array(runs).buffer);
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

/** @param {import('./draft.js').Written} written */
const sent = ({ frame, runs }) => ({ frame, runs: packedRuns(runs) });

/** Edits with `undone`: the newest undo of one decides, and an undo can be undone itself. @param {any[]} edits */
function marked(edits) {
  /** @type {Set<number>} */
  const undone = new Set();
  for (const edit of [...edits].reverse()) if (edit.op === 'undo' && !undone.has(edit.n)) undone.add(edit.of);
  return edits.map((edit) => ({ ...edit, undone: undone.has(edit.n) }));
}

export class Editor {
  /**
   * @param {any} pack
   * @param {object} on
   * @param {() => void} on.changed the panel must be drawn anew
   * @param {() => void} on.drawn the plane must be drawn anew
   * @param {(sample: number) => void} on.saved the objects of the sample are others now
   */
  constructor(pack, on) {
    this.pack = pack;
    this.on = on;
    this.sample = -1;
    /** @type {Tool} */
    this.tool = 'select';
    this.radius = 8;
    this.category = 0;
    /** @type {Draft | null} */
    this.draft = null;
    this.target = 'new'; // new, map, or the name of the object that the draft replaces
    /** @type {string[]} names of the objects shown */
    this.objects = [];
    /** @type {any[]} */
    this.edits = [];
    /** @type {Map<number, number>} the last line of each image that is known here */
    this.last = new Map();
    /** @type {any} */
    this.error = null;
    /** @type {any} what another tab saved meanwhile */
    this.conflict = null;
    this.isBusy = false;
    this.cursor = [-1, -1];
    /** @type {number[] | null} */
    this.from = null;
    /** @type {number[]} x y width height */
    this.box = [];
    /** @type {{foreground: number[][][], background: number[][][]}} */
    this.strokes = { foreground: [], background: [] };
    /** @type {number[][]} */
    this.corners = [];
    /** @type {string[]} */
    this.made = [];
    this.control = new AbortController();
    this.size = [0, 0];
    /** @type {import('./runs.js').Masks | null} what is shown */
    this.masks = null;
    /** @type {WeakMap<object, string[]>} names of the objects of what was shown, row by row */
    this.names = new WeakMap();
    /** @type {Promise<unknown>} the question of the server that was asked last; the next one waits for its answer */
    this.turn = Promise.resolve();
    /** @type {Draft | null} */
    this.saving = null;
  }

  /** Another image, or the same one after it was changed. @param {number} sample @param {import('./runs.js').Masks} masks */
  open(sample, masks) {
    const isOther = sample !== this.sample;
    this.sample = sample;
    this.masks = masks;
    this.size = [masks.height, masks.width];
    if (isOther) {
      Object.assign(this, { objects: [], edits: [], error: null });
      this.drop();
    }
    return this.next(() => this.load(sample, masks));
  }

  /** Reads what is said of an image. @param {number} sample @param {import('./runs.js').Masks} masks */
  async load(sample, masks) {
    if (masks !== this.masks) return;
    try {
      const { last, objects, edits } = await json(`edits/${sample}`);
      this.names.set(masks, objects);
      this.last.set(sample, last);
      if (masks === this.masks) Object.assign(this, { objects, edits });
    } catch (error) {
      this.fail(error);
    }
    this.on.changed();
  }

  /** @param {unknown} error */
  fail(error) {
    if (isAbort(error)) return;
    this.error = error;
    this.isBusy = false;
    this.on.changed();
  }

  /** Forgets the draft. */
  drop() {
    this.draft = null;
    this.box = [];
    this.corners = [];
    this.strokes = { foreground: [], background: [] };
    this.made = [];
    this.from = null;
    this.conflict = null;
    this.on.drawn();
    this.on.changed();
  }

  /** @param {Tool} tool */
  choose(tool) {
    this.tool = tool;
    this.corners = [];
    this.on.drawn();
    this.on.changed();
  }

  colorOf() {
    return this.pack.labels.categories[this.category]?.color ?? [255, 255, 255];
  }

  /** Begins a mask; of a chosen object with its pixels. @param {import('./overlay.js').Overlay | null} overlay @param {number} object −1 for a new one */
  start(overlay, object) {
    if (this.draft) return this.draft;
    this.category = overlay && object >= 0 ? overlay.masks.category[object] : Math.max(0, this.category);
    this.draft = new Draft(this.size[0], this.size[1], this.colorOf());
    this.target = 'new';
    if (overlay && object >= 0) {
      this.target = this.objects[object] ?? 'new';
      this.draft.take(overlay.masks, object);
    }
    this.on.changed();
    return this.draft;
  }

  /** What the draft becomes: "new", an object, or "map", a part of the label map. @param {string} target */
  aim(target) {
    this.target = target;
    this.relabel(target === 'map' ? this.category : Math.max(0, this.category));
  }

  /** @param {number} category −1 for void, of a label map */
  relabel(category) {
    this.category = category;
    this.draft?.recolor(this.colorOf());
    this.on.drawn();
    this.on.changed();
  }

  // ------------------------------------------------------------------ the pointer

  /**
   * What the pointer does on a plane.
   *
   * @param {() => {overlay: import('./overlay.js').Overlay | null, object: number}} chosen
   */
  pointer(chosen) {
    if (this.tool === 'select') return null;
    const start = () => {
      const { overlay, object } = chosen();
      return this.start(overlay, object);
    };
    return {
      /** @param {number} x @param {number} y */
      begin: (x, y) => this.begin(x, y, start),
      /** @param {number} x @param {number} y */
      move: (x, y) => this.drag(x, y),
      /** @param {number} x @param {number} y */
      end: (x, y) => this.end(x, y, start),
      /** @param {number} x @param {number} y */
      hover: (x, y) => {
        this.cursor = [x, y];
        this.on.drawn();
      },
    };
  }

  /** @param {number} x @param {number} y @param {() => Draft} start */
  begin(x, y, start) {
    this.from = [x, y];
    this.cursor = [x, y];
    if (this.tool === 'brush' || this.tool === 'eraser') {
      const draft = start();
      draft.begin();
      draft.stroke([x, y], [x, y], this.radius, this.tool === 'brush' ? 1 : 0);
      this.note(this.tool);
    } else if (this.tool === 'fore' || this.tool === 'back') {
      start();
      this.strokes[this.tool === 'fore' ? 'foreground' : 'background'].push([[x, y]]);
    } else if (this.tool === 'box') this.box = [x, y, 0, 0];
    this.on.drawn();
  }

  /** @param {number} x @param {number} y */
  drag(x, y) {
    this.cursor = [x, y];
    const { from, draft, tool } = this;
    if (!from) return;
    if ((tool === 'brush' || tool === 'eraser') && draft) {
      draft.stroke(from, [x, y], this.radius, tool === 'brush' ? 1 : 0);
      this.from = [x, y];
    } else if (tool === 'fore' || tool === 'back') {
      this.strokes[tool === 'fore' ? 'foreground' : 'background'].at(-1)?.push([x, y]);
    } else if (tool === 'box') this.box = boxOf(from, [x, y], this.size);
    this.on.drawn();
  }

  /** @param {number} x @param {number} y @param {() => Draft} start */
  end(x, y, start) {
    this.from = null;
    if (this.tool === 'polygon') this.corner(x, y, start);
    else if (this.tool === 'box') {
      if (this.box[2] < 2 || this.box[3] < 2) this.box = [];
      else {
        start();
        this.strokes = { foreground: [], background: [] };
        this.segment();
      }
    } else if (this.tool === 'fore' || this.tool === 'back') this.segment();
    this.on.drawn();
    this.on.changed();
  }

  /** One more corner; near the first, the polygon is closed. @param {number} x @param {number} y @param {() => Draft} start */
  corner(x, y, start) {
    const [first] = this.corners;
    if (first && this.corners.length > 2 && Math.hypot(first[0] - x, first[1] - y) < Math.max(3, this.size[1] / 100)) {
      start();
      this.close();
    } else this.corners.push([x, y]);
  }

  /** Fills the polygon. */
  close() {
    const rings = [this.corners.flat().map((value) => Math.round(value * 100) / 100)];
    if (this.corners.length < 3) return;
    this.corners = [];
    this.ask('polygon', { rings }, true);
  }

  /** @param {string} what */
  note(what) {
    if (!this.made.includes(what)) this.made.push(what);
  }

  // ------------------------------------------------------------------ tools of the server

  /** The mask that box and strokes mean; only the newest request counts. */
  segment() {
    const isModel = this.pack.model && this.pack.tools.includes('model');
    const whole = this.box.length ? this.box : this.around();
    if (!whole.length) return;
    const rounded = (/** @type {number[][][]} */ strokes) => strokes.map((stroke) => stroke.map((point) => point.map((value) => Math.round(value * 10) / 10)));
    this.ask(isModel ? 'model' : 'grabcut', {
      box: whole,
      foreground: rounded(this.strokes.foreground),
      background: rounded(this.strokes.background),
      radius: this.radius,
      ...(this.box.length || !this.draft || this.draft.isEmpty ? {} : { mask: sent(this.draft.written()) }),
    });
  }

  /** The box of the draft, a little wider. */
  around() {
    if (!this.draft || this.draft.isEmpty) return [];
    const [x, y, wide, high] = this.draft.written().frame;
    const [height, width] = this.size;
    const more = Math.ceil(Math.max(wide, high) / 8);
    return boxOf([x - more, y - more], [x + wide + more, y + high + more], [height, width]);
  }

  /**
   * @param {string} tool
   * @param {object} document
   * @param {boolean} [isAdded] what comes back is added to the draft
   */
  async ask(tool, document, isAdded = false) {
    this.control.abort();
    const control = new AbortController();
    this.control = control;
    this.isBusy = true;
    this.on.changed();
    try {
      const answer = await post(`tool/${tool}`, { i: this.sample, ...document }, { signal: control.signal });
      const masks = decode(await answer.arrayBuffer());
      const draft = this.draft ?? this.start(null, -1);
      draft.begin();
      if (isAdded) {
        const before = draft.plane.slice();
        draft.take(masks, 0);
        before.forEach((value, i) => value && (draft.plane[i] = 1));
        draft.show();
      } else draft.take(masks, 0);
      this.note(tool);
      this.error = null;
      this.isBusy = false;
      this.on.drawn();
      this.on.changed();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Fill holes, largest part, grow, shrink. @param {string} tool @param {object} [more] */
  improve(tool, more = {}) {
    if (this.draft && !this.draft.isEmpty) this.ask(tool, { mask: sent(this.draft.written()), ...more });
  }

  // ------------------------------------------------------------------ lines of the edits file

  /** Does something once all that was asked before is answered. @param {() => Promise<unknown>} work */
  next(work) {
    this.turn = this.turn.then(work, work);
    return this.turn;
  }

  /** Sends an edit of an object that is shown. @param {number} object row @param {Record<string, unknown>} edit */
  change(object, edit) {
    const { masks, sample } = this;
    return this.next(async () => {
      const of = masks && this.names.get(masks)?.[object];
      if (of !== undefined && of !== null) await this.send(sample, { of, ...edit });
    });
  }

  /** @param {number} sample @param {any} edit @returns {Promise<boolean>} whether it was saved */
  async send(sample, edit) {
    const isShown = () => sample === this.sample;
    if (this.isBusy && !this.control.signal.aborted) this.control.abort();
    this.isBusy = true;
    this.on.changed();
    try {
      const { n } = await (await post('edits', { i: sample, after: this.last.get(sample) ?? 0, ...edit })).json();
      this.last.set(sample, n);
      if (isShown()) {
        this.edits = marked([...this.edits, { n, op: edit.op, of: edit.of, at: '' }]); // until the server's list is there
        Object.assign(this, { error: null, conflict: null });
      }
      this.isBusy = false;
      this.on.saved(sample);
      return true;
    } catch (error) {
      if (error instanceof ServerError && error.status === 409 && isShown()) {
        this.isBusy = false;
        this.conflict = error.document ?? {};
        this.edits = this.conflict.edits ?? this.edits;
        const last = this.conflict.last ?? this.conflict.edits?.at(-1)?.n;
        if (last !== undefined) this.last.set(sample, last);
        this.on.saved(sample); // shows what the other one did, under the draft
      } else this.fail(error);
      return false;
    }
  }

  /** Saves the draft. */
  save() {
    const { draft, sample } = this;
    if (!draft || draft.isEmpty || draft === this.saving) return;
    const tool = this.made.length ? { tool: { name: this.made.join(' + '), ...(this.box.length ? { box: this.box } : {}) } } : {};
    const mask = sent(draft.written());
    const edit =
      this.target === 'map'
        ? { op: 'map', category: this.category < 0 ? null : this.category, ...mask, ...tool }
        : this.target === 'new'
          ? { op: 'add', category: this.category, ...mask, ...tool }
          : { op: 'mask', of: this.target, ...mask, ...tool };
    this.saving = draft;
    this.next(async () => {
      const isSaved = await this.send(sample, edit);
      this.saving = null;
      if (isSaved && this.draft === draft) this.drop();
    });
  }

  /** @param {number} object @param {number} category */
  setCategory(object, category) {
    return this.change(object, { op: 'category', category });
  }

  /** @param {number} object @param {Record<string, boolean>} flags */
  setFlags(object, flags) {
    return this.change(object, { op: 'flags', flags });
  }

  /** @param {number} object */
  remove(object) {
    return this.change(object, { op: 'delete' });
  }

  /** @param {number} prediction row */
  accept(prediction) {
    const { sample } = this;
    return this.next(() => this.send(sample, { op: 'accept', prediction }));
  }

  /** Edits that count: neither undone nor undos. */
  counting() {
    return this.edits.filter((edit) => !edit.undone && edit.op !== 'undo' && edit.op !== 'note');
  }

  /** The draft's last step, else the last edit. */
  undo() {
    const draft = this.draft === this.saving ? null : this.draft;
    if (draft?.undo()) this.on.drawn();
    else if (draft) this.drop();
    else this.next(() => this.sendUndo(this.counting().at(-1)));
  }

  /** The newest undo, if nothing came after it. */
  lastUndo() {
    const undos = this.edits.filter((edit) => edit.op === 'undo' && !edit.undone && this.edits.find((other) => other.n === edit.of)?.op !== 'undo');
    const last = undos.at(-1);
    return last && this.counting().some((edit) => edit.n > last.n) ? undefined : last;
  }

  /** What was undone last. */
  redo() {
    if (this.draft?.redo()) this.on.drawn();
    else this.next(() => this.sendUndo(this.lastUndo()));
  }

  /** @param {any} edit of the image that is shown */
  async sendUndo(edit) {
    if (edit) await this.send(this.sample, { op: 'undo', of: edit.n });
  }

  // ------------------------------------------------------------------ drawing

  /** On top of the image, in its pixels. @param {CanvasRenderingContext2D} context @param {number} scale */
  paint(context, scale) {
    const { draft } = this;
    if (draft) {
      context.save();
      context.transform(0, 1, 1, 0, 0, 0);
      context.drawImage(draft.canvas, 0, 0);
      context.restore();
    }
    context.lineWidth = 1.5 / scale;
    context.strokeStyle = '#fff';
    context.setLineDash([5 / scale, 4 / scale]);
    if (this.box.length) context.strokeRect(this.box[0], this.box[1], this.box[2], this.box[3]);
    context.setLineDash([]);
    context.lineCap = 'round';
    context.lineJoin = 'round';
    for (const [strokes, color] of /** @type {[number[][][], string][]} */ ([
      [this.strokes.foreground, 'rgba(86, 180, 233, 0.85)'],
      [this.strokes.background, 'rgba(240, 160, 20, 0.85)'],
    ])) {
      context.strokeStyle = color;
      context.lineWidth = Math.max(2 / scale, this.radius);
      for (const stroke of strokes) line(context, stroke);
    }
    context.lineWidth = 1.5 / scale;
    context.strokeStyle = '#fff';
    if (this.corners.length) {
      line(context, [...this.corners, this.cursor]);
      context.fillStyle = '#fff';
      for (const [x, y] of this.corners) context.fillRect(x - 2.5 / scale, y - 2.5 / scale, 5 / scale, 5 / scale);
    }
    if (['brush', 'eraser', 'fore', 'back'].includes(this.tool) && this.cursor[0] >= 0) {
      context.beginPath();
      context.arc(this.cursor[0], this.cursor[1], this.tool === 'fore' || this.tool === 'back' ? this.radius / 2 : this.radius, 0, 7);
      context.stroke();
    }
  }

  /** @param {KeyboardEvent} event @param {any} chosen overlay, object, prediction @returns {boolean} whether it was a key of correction */
  press(event, chosen) {
    const tools = /** @type {Record<string, Tool>} */ ({ s: 'select', b: 'box', d: 'brush', x: 'eraser', v: 'polygon', q: 'fore', w: 'back' });
    const { key } = event;
    const isControl = event.ctrlKey || event.metaKey;
    if (isControl && key.toLowerCase() === 'z') event.shiftKey ? this.redo() : this.undo();
    else if (isControl && key.toLowerCase() === 'y') this.redo();
    else if (isControl || event.altKey) return false;
    else if (tools[key]) this.choose(tools[key]);
    else if (key === 'u') this.undo();
    else if (key === 'U') this.redo();
    else if (key === '[') this.resize(1 / 1.25);
    else if (key === ']') this.resize(1.25);
    else if (key === 'Enter' && this.corners.length > 2) this.close();
    else if (key === 'Enter' && this.draft) this.save();
    else if (key === 'Escape' && (this.draft || this.corners.length || this.box.length)) this.drop();
    else if ((key === 'Delete' || key === 'Backspace') && chosen.object >= 0) this.remove(chosen.object);
    else if (key === 'a' && chosen.prediction >= 0) this.accept(chosen.prediction);
    else return false;
    return true;
  }

  /** @param {number} factor */
  resize(factor) {
    this.radius = Math.max(0.5, Math.min(200, Math.round(this.radius * factor * 2) / 2 + (factor > 1 && this.radius < 2 ? 0.5 : 0)));
    this.on.drawn();
    this.on.changed();
  }
}

/** @param {number[]} one corner @param {number[]} other @param {number[]} size height width @returns {number[]} x y width height, inside the image */
function boxOf(one, other, size) {
  const [height, width] = size;
  const left = Math.max(0, Math.floor(Math.min(one[0], other[0])));
  const top = Math.max(0, Math.floor(Math.min(one[1], other[1])));
  const right = Math.min(width, Math.ceil(Math.max(one[0], other[0])));
  const bottom = Math.min(height, Math.ceil(Math.max(one[1], other[1])));
  return [left, top, Math.max(0, right - left), Math.max(0, bottom - top)];
}

/** @param {CanvasRenderingContext2D} context @param {number[][]} points */
function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
  context.stroke();
}
