// @ts-check
/**
 * The images as tiles. Only tiles near the screen are in the document; they are placed absolutely in a spacer as high as
 * all rows, or, where a browser allows no element so high, in one whose scrollbar is scaled.
 */

import { Recent } from './recent.js';
import { Queue, ServerError, ask, json } from './server.js';
import { HAS_MASK, decode, isMapAlone, packed, paintReduced, tint } from './sample/runs.js';

const HIGHEST = 30_000_000; // pixels; browsers cut elements near 33 million
const SETTLE = 60; // ms without scrolling before tiles are asked for
const GAP = 10;
const CAPTION = 40;
const KEPT = 600; // thumbnails kept in memory
const LEAST = /** @type {Record<string, number>} */ ({ small: 108, medium: 156, large: 260 });

/**
 * @typedef {object} Tile
 * @property {number} position in the order shown
 * @property {number} sample
 * @property {HTMLElement} element
 * @property {HTMLAnchorElement} link
 * @property {HTMLImageElement} image
 * @property {HTMLCanvasElement} overlay
 * @property {HTMLElement} trouble
 * @property {HTMLElement} key
 * @property {HTMLElement} numbers
 * @property {boolean} hasImage
 * @property {boolean} hasOverlay
 */

/** @param {string} tag @param {string} name */
function element(tag, name) {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}

/** By how much more F1 an image has than with the other predictions, in signs and figures. @param {any} facts */
function change(facts) {
  const other = facts.other?.f1;
  if (other === undefined || other === null) return '';
  const by = facts.f1 - other;
  if (Math.abs(by) < 0.005) return by === 0 ? ' =' : ' ≈';
  return by > 0 ? ` ▲ +${by.toFixed(2)}` : ` ▼ −${(-by).toFixed(2)}`;
}

export class Grid {
  /**
   * @param {HTMLElement} root scrolls
   * @param {object} options
   * @param {any} options.pack the server's description
   * @param {(position: number) => string} options.link address of a sample
   * @param {(position: number) => void} options.onTop the first visible tile changed
   */
  constructor(root, { pack, link, onTop }) {
    this.root = root;
    this.pack = pack;
    this.link = link;
    this.onTop = onTop;
    /** @type {Uint32Array} */
    this.ids = new Uint32Array();
    this.size = 'medium';
    this.draws = 'masks';
    this.of = 'truth';
    /** @type {import('./server.js').Parameters} */
    this.thresholds = {};
    /** @type {Set<string>} */
    this.off = new Set();
    this.columns = 1;
    this.tileWidth = 160;
    this.rowHeight = 160;
    this.offset = 0; // pixels from the top of all rows to the top of the screen
    this.focused = 0;
    /** @type {Map<number, Tile>} */
    this.tiles = new Map();
    /** @type {Tile[]} */
    this.free = [];
    /** @type {Recent<any>} */
    this.facts = new Recent(4000);
    /** @type {Recent<string>} */
    this.thumbs = new Recent(KEPT, (url) => URL.revokeObjectURL(url));
    /** @type {Recent<ServerError>} */
    this.troubles = new Recent(KEPT);
    /** @type {Recent<import('./sample/runs.js').Masks>} */
    this.masks = new Recent(200);
    /** @type {Recent<ImageData>} label maps, small */
    this.maps = new Recent(200);
    this.queue = new Queue(6);
    this.spacer = element('div', 'spacer');
    this.spacer.setAttribute('role', 'list');
    this.spacer.setAttribute('aria-label', 'Images');
    root.append(this.spacer);
    this.timer = 0;
    this.frame = 0;
    root.addEventListener('scroll', () => this.scrolled(), { passive: true });
    root.addEventListener('wheel', (event) => this.wheeled(event), { passive: false });
    root.addEventListener('keydown', (event) => this.pressed(event));
    root.addEventListener('focusin', (event) => this.entered(event));
    this.watcher = new ResizeObserver(() => this.measure());
    this.watcher.observe(root);
  }

  close() {
    this.watcher.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.queue.want([]);
    this.thumbs.clear();
    this.spacer.remove();
  }

  /** @param {Uint32Array} ids sample numbers in order @param {number} top position of the first to show */
  show(ids, top) {
    this.ids = ids;
    this.focused = Math.min(this.focused, Math.max(0, ids.length - 1));
    this.recycle();
    this.columns = 0;
    this.measure(top);
    this.load(); // nobody is scrolling
  }

  /**
   * How tiles look.
   *
   * @param {{size: string, draws: string, of: string, off: string[], thresholds: import('./server.js').Parameters}} look
   */
  dress({ size, draws, of, off, thresholds }) {
    const isCounted = JSON.stringify(thresholds) !== JSON.stringify(this.thresholds);
    const isDrawn = draws !== this.draws || of !== this.of || off.join() !== [...this.off].join() || isCounted;
    const isSized = size !== this.size;
    Object.assign(this, { size, draws, of, off: new Set(off), thresholds });
    if (isCounted) this.facts.clear();
    if (isDrawn || isCounted) {
      if (isDrawn) this.masks.clear();
      if (isDrawn) this.maps.clear();
      this.recycle();
    }
    if (isSized) this.measure();
    else if (isDrawn || isCounted) this.place();
  }

  /** What is said of images is asked for anew. */
  renew() {
    this.facts.clear();
    this.place();
  }

  recycle() {
    for (const tile of this.tiles.values()) this.release(tile);
    this.tiles.clear();
  }

  /** @param {number} [top] position to have at the top; else what is there stays */
  measure(top) {
    const width = this.root.clientWidth - 2 * GAP;
    if (width <= 0) return;
    const first = top ?? Math.floor(this.offset / this.rowHeight) * this.columns;
    const least = Math.min(LEAST[this.size] ?? 156, width / 2 - GAP);
    const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    const tileWidth = Math.floor((width + GAP) / columns) - GAP;
    if (columns === this.columns && tileWidth === this.tileWidth && top === undefined) {
      this.place();
      return;
    }
    this.columns = columns;
    this.tileWidth = tileWidth;
    this.rowHeight = Math.round(tileWidth * 0.75) + CAPTION + GAP;
    this.spacer.style.height = `${Math.min(this.high(), HIGHEST)}px`;
    this.recycle();
    this.scrollTo(Math.floor(first / columns) * this.rowHeight);
  }

  /** Height of all rows. */
  high() {
    return Math.ceil(this.ids.length / this.columns) * this.rowHeight + GAP;
  }

  /** Pixels of all rows for a pixel of the scrollbar. */
  ratio() {
    const screen = this.root.clientHeight;
    const high = this.high();
    return high <= HIGHEST ? 1 : (high - screen) / (HIGHEST - screen);
  }

  /** @param {number} offset in all rows */
  scrollTo(offset) {
    this.offset = Math.max(0, Math.min(offset, this.high() - this.root.clientHeight));
    this.root.scrollTop = this.offset / this.ratio();
    this.place();
  }

  scrolled() {
    const ratio = this.ratio();
    if (Math.abs(this.root.scrollTop - this.offset / ratio) > 1) this.offset = this.root.scrollTop * ratio;
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.place();
      });
    }
  }

  /** @param {WheelEvent} event */
  wheeled(event) {
    if (this.ratio() === 1 || event.ctrlKey) return; // the browser scrolls
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 40 : event.deltaMode === 2 ? this.root.clientHeight : 1;
    this.scrollTo(this.offset + event.deltaY * unit);
  }

  /** Puts tiles where they belong: one screen above, this one, one below. */
  place() {
    const screen = this.root.clientHeight;
    const from = Math.max(0, Math.floor((this.offset - screen * 0.75) / this.rowHeight)) * this.columns;
    const to = Math.min(this.ids.length, Math.ceil((this.offset + screen * 1.75) / this.rowHeight) * this.columns);
    for (const [position, tile] of this.tiles) {
      if (position >= from && position < to) continue;
      this.release(tile);
      this.tiles.delete(position);
    }
    const shift = this.root.scrollTop - this.offset;
    for (let position = from; position < to; position++) {
      let tile = this.tiles.get(position);
      if (!tile) {
        tile = this.take(position);
        this.tiles.set(position, tile);
      }
      const x = GAP + (position % this.columns) * (this.tileWidth + GAP);
      const y = GAP + Math.floor(position / this.columns) * this.rowHeight + shift;
      tile.element.style.transform = `translate(${x}px, ${y}px)`;
    }
    this.onTop(Math.min(this.ids.length, Math.round(this.offset / this.rowHeight) * this.columns));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), SETTLE);
  }

  /** @returns {Tile} */
  make() {
    const box = element('div', 'tile');
    box.setAttribute('role', 'listitem');
    const link = /** @type {HTMLAnchorElement} */ (element('a', 'tile-link'));
    const picture = element('div', 'picture');
    const image = /** @type {HTMLImageElement} */ (element('img', 'thumb'));
    const overlay = /** @type {HTMLCanvasElement} */ (element('canvas', 'thumb overlay'));
    const trouble = element('div', 'trouble');
    const key = element('span', 'key');
    const numbers = element('span', 'numbers');
    const caption = element('div', 'caption');
    image.alt = '';
    image.draggable = false;
    picture.append(image, overlay, trouble);
    caption.append(key, numbers);
    link.append(picture, caption);
    box.append(link);
    this.spacer.append(box);
    return { position: 0, sample: 0, element: box, link, image, overlay, trouble, key, numbers, hasImage: false, hasOverlay: false };
  }

  /** @param {number} position */
  take(position) {
    const tile = this.free.pop() ?? this.make();
    const sample = this.ids[position];
    Object.assign(tile, { position, sample, hasImage: false, hasOverlay: false });
    tile.element.hidden = false;
    tile.element.style.width = `${this.tileWidth}px`;
    tile.element.style.height = `${this.rowHeight - GAP}px`;
    tile.element.setAttribute('aria-posinset', String(position + 1));
    tile.element.setAttribute('aria-setsize', String(this.ids.length));
    tile.link.href = this.link(sample);
    tile.link.tabIndex = position === this.focused ? 0 : -1;
    tile.link.dataset.position = String(position);
    this.tell(tile);
    const thumb = this.thumbs.get(sample);
    if (thumb) this.picture(tile, thumb);
    const trouble = this.troubles.get(sample);
    if (trouble) this.complain(tile, trouble);
    const masks = this.masks.get(sample);
    if (masks) this.draw(tile, masks);
    return tile;
  }

  /** @param {Tile} tile */
  release(tile) {
    if (tile.link === document.activeElement) this.root.focus({ preventScroll: true });
    tile.element.hidden = true;
    tile.image.removeAttribute('src');
    tile.image.classList.remove('there');
    tile.overlay.width = 0;
    tile.trouble.textContent = '';
    tile.key.textContent = '';
    tile.numbers.textContent = '';
    this.free.push(tile);
  }

  /** What is said under a picture. @param {Tile} tile */
  tell(tile) {
    const facts = this.facts.get(tile.sample);
    if (!facts) return;
    tile.key.textContent = facts.key;
    tile.key.title = `${facts.key}\n${facts.width} × ${facts.height}${facts.split ? ` · ${facts.split}` : ''}`;
    const parts = [];
    if (facts.f1 !== undefined && facts.f1 !== null) parts.push(`F1 ${facts.f1.toFixed(2)}${change(facts)}`);
    if (facts.tp !== undefined && facts.tp !== null) {
      parts.push(`✓ ${facts.tp}`);
      if (facts.fp) parts.push(`+ ${facts.fp}`);
      if (facts.fn) parts.push(`− ${facts.fn}`);
    } else if (!this.pack.objects) parts.push(`${facts.width} × ${facts.height}`);
    else parts.push(facts.objects === 1 ? '1 object' : `${facts.objects.toLocaleString('en')} objects`);
    tile.numbers.textContent = parts.join('  ');
    tile.link.setAttribute('aria-label', `${facts.key}, ${parts.join(', ')}`);
    if (facts.problem && !tile.trouble.textContent) {
      tile.trouble.textContent = typeof facts.problem === 'string' ? facts.problem : 'has a problem';
      tile.trouble.className = 'trouble mild';
    }
  }

  /** @param {Tile} tile @param {string} url */
  picture(tile, url) {
    tile.hasImage = true;
    tile.image.src = url;
    tile.image.classList.add('there');
  }

  /** @param {Tile} tile @param {ServerError} error */
  complain(tile, error) {
    tile.hasImage = true;
    tile.trouble.className = 'trouble';
    tile.trouble.textContent = error.status === 404 ? 'no image in this pack' : [error.message, error.place].filter(Boolean).join(' · ');
    tile.trouble.title = [error.message, error.why, error.place, error.fix].filter(Boolean).join('\n');
    tile.link.setAttribute('aria-label', `${tile.key.textContent}: ${tile.trouble.textContent}`);
  }

  /** @param {Tile} tile @param {import('./sample/runs.js').Masks} masks */
  draw(tile, masks) {
    tile.hasOverlay = true;
    const map = this.maps.get(tile.sample);
    if (map) {
      tile.overlay.width = map.width;
      tile.overlay.height = map.height;
      tile.overlay.getContext('2d')?.putImageData(map, 0, 0);
    }
    if (!masks.count) return;
    const step = Math.max(1, Math.floor(Math.max(masks.width, masks.height) / (this.tileWidth * 1.25)));
    const least = Number(this.thresholds.score ?? 0);
    const labels = this.pack.labels.categories;
    const isShown = (/** @type {number} */ object) =>
      !(masks.score[object] < least) && !this.off.has(labels[masks.category[object]]?.name);
    const small = paintReduced(masks, step, isShown);
    const fills = new Uint32Array(masks.count + 1);
    const lines = new Uint32Array(masks.count + 1);
    for (let object = 0; object < masks.count; object++) {
      const color = labels[masks.category[object]]?.color ?? [128, 128, 128];
      fills[object + 1] = packed(color, 0.4);
      lines[object + 1] = packed(color, 0.95);
    }
    const image = new ImageData(small.height, small.width); // transposed, as the plane is
    tint(small.plane, small.height, new Uint32Array(image.data.buffer), fills, lines, 1);
    const between = new OffscreenCanvas(small.height, small.width);
    /** @type {OffscreenCanvasRenderingContext2D} */ (between.getContext('2d')).putImageData(image, 0, 0);
    if (!map) {
      tile.overlay.width = small.width;
      tile.overlay.height = small.height;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (tile.overlay.getContext('2d'));
    const enlarged = tile.overlay.width / small.width;
    context.setTransform(0, enlarged, enlarged, 0, 0, 0);
    context.drawImage(between, 0, 0);
    const scale = tile.overlay.width / masks.width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.lineWidth = 1.5 / scale;
    for (let object = 0; object < masks.count; object++) {
      if (masks.flags[object] & HAS_MASK || !isShown(object)) continue;
      context.strokeStyle = `rgb(${(labels[masks.category[object]]?.color ?? [128, 128, 128]).join(' ')})`;
      const [x, y, wide, high] = masks.bbox.subarray(4 * object, 4 * object + 4);
      context.strokeRect(x, y, wide, high);
    }
  }

  /** Asks for what the screen lacks, the middle first. */
  load() {
    const middle = this.offset + this.root.clientHeight / 2;
    const tiles = [...this.tiles.values()];
    /** @param {Tile} tile */
    const far = (tile) => Math.abs((Math.floor(tile.position / this.columns) + 0.5) * this.rowHeight - middle);
    const edge = (this.root.clientHeight + this.rowHeight) / 2; // rows less far are on the screen, if only in part
    /** @type {{name: string | number, urgency: number, run: (signal: AbortSignal) => Promise<void>}[]} */
    const jobs = [];
    const unknown = tiles.filter((tile) => !this.facts.get(tile.sample)).slice(0, 256);
    if (unknown.length) {
      const ids = unknown.map((tile) => tile.sample).join(',');
      jobs.push({ name: `facts ${ids}`, urgency: -1, run: (signal) => this.loadFacts(ids, signal) });
    }
    for (const tile of tiles) {
      const { sample } = tile;
      const urgency = far(tile);
      if (!tile.hasImage && this.pack.has_images) jobs.push({ name: sample, urgency, run: (signal) => this.loadThumb(sample, signal) });
      if (!tile.hasOverlay && this.draws === 'masks') {
        const behind = urgency < edge ? edge + urgency / 1000 : urgency + 2 * edge; // pictures on the screen come first
        jobs.push({ name: `masks ${sample}`, urgency: behind, run: (signal) => this.loadMasks(sample, signal) });
      }
    }
    this.queue.want(jobs);
  }

  /** Tiles on the screen of a sample. @param {number} sample */
  *showing(sample) {
    for (const tile of this.tiles.values()) if (tile.sample === sample) yield tile;
  }

  /** @param {string} ids @param {AbortSignal} signal */
  async loadFacts(ids, signal) {
    for (const facts of await json('tiles', { ids, ...this.thresholds }, { signal })) this.facts.set(facts.i, facts);
    for (const tile of this.tiles.values()) this.tell(tile);
  }

  /** @param {number} sample @param {AbortSignal} signal */
  async loadThumb(sample, signal) {
    try {
      const side = this.tileWidth * Math.min(2, devicePixelRatio) > 240 ? 320 : 160;
      const answer = await ask(`thumb/${sample}`, { side }, { signal });
      const url = URL.createObjectURL(await answer.blob());
      this.thumbs.set(sample, url);
      for (const tile of this.showing(sample)) this.picture(tile, url);
    } catch (error) {
      if (!(error instanceof ServerError) || error.status === 0 || error.status === 410) return;
      if (error.status === 429) {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.load(), 300);
        return;
      }
      this.troubles.set(sample, error);
      for (const tile of this.showing(sample)) this.complain(tile, error);
    }
  }

  /** @param {number} sample @param {AbortSignal} signal */
  async loadMasks(sample, signal) {
    const masks = decode(await (await ask(`masks/${sample}`, { of: this.of }, { signal })).arrayBuffer());
    if (isMapAlone(masks)) await this.loadMap(sample, signal);
    this.masks.set(sample, masks);
    for (const tile of this.showing(sample)) this.draw(tile, masks);
  }

  /** @param {number} sample @param {AbortSignal} signal */
  async loadMap(sample, signal) {
    const answer = await ask(`semantic/${sample}`, { of: this.of }, { signal });
    const [height, width, itemsize] = (answer.headers.get('X-Segdata-Size') ?? '').split(',').map(Number);
    const buffer = await answer.arrayBuffer();
    const values = itemsize === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer);
    const step = Math.max(1, Math.floor(Math.max(width, height) / (this.tileWidth * 1.25)));
    const image = new ImageData(Math.ceil(width / step), Math.ceil(height / step));
    const pixels = new Uint32Array(image.data.buffer);
    const colors = Uint32Array.from(this.pack.labels.categories, (/** @type {any} */ category) => (this.off.has(category.name) ? 0 : packed(category.color, 0.5)));
    for (let y = 0, i = 0; y < height; y += step) for (let x = 0; x < width; x += step, i++) pixels[i] = colors[values[y * width + x]] ?? 0;
    this.maps.set(sample, image);
  }

  /** @param {FocusEvent} event */
  entered(event) {
    const link = event.target instanceof HTMLElement ? event.target.dataset.position : undefined;
    if (link !== undefined) this.mark(Number(link));
  }

  /** @param {number} position */
  mark(position) {
    const before = this.tiles.get(this.focused);
    if (before) before.link.tabIndex = -1;
    this.focused = position;
    const now = this.tiles.get(position);
    if (now) now.link.tabIndex = 0;
  }

  /** Moves the focus, and the screen with it. @param {number} position */
  focus(position) {
    const to = Math.max(0, Math.min(this.ids.length - 1, position));
    const top = Math.floor(to / this.columns) * this.rowHeight;
    const screen = this.root.clientHeight;
    if (top < this.offset) this.scrollTo(top);
    else if (top + this.rowHeight + GAP > this.offset + screen) this.scrollTo(top + this.rowHeight + GAP - screen);
    this.mark(to);
    this.tiles.get(to)?.link.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.rowHeight)) * this.columns;
    const steps = /** @type {Record<string, number>} */ ({
      ArrowLeft: -1,
      ArrowRight: 1,
      k: -1,
      j: 1,
      ArrowUp: -this.columns,
      ArrowDown: this.columns,
      PageUp: -page,
      PageDown: page,
      Home: -this.ids.length,
      End: this.ids.length,
    });
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.focus(this.focused + step);
  }
}
