// @ts-check
/**
 * One image on a canvas: photo, label map, masks, boxes and numbers, moved and enlarged to the pixel.
 *
 * The canvas is as large as the screen gives; every drawing costs pixels of the screen, not of the image. Up to 1:1 it is
 * drawn smoothly, beyond that pixel by pixel.
 */

import { css, ink } from './overlay.js';
import { HAS_MASK } from './runs.js';

const LARGEST = 64; // screen pixels for one of the image

/**
 * @typedef {object} Scene
 * @property {number} width of the image
 * @property {number} height
 * @property {ImageBitmap | null} photo
 * @property {import('./overlay.js').Overlay[]} overlays one; two for a swipe
 * @property {(import('./overlay.js').LabelMap | null)[]} maps as many
 * @property {number} opacity of label maps
 * @property {Set<string>} layers
 * @property {boolean} isDim what is drawn stands back behind a draft
 * @property {number} divider 0 … 1 of the width of the screen, where the first side ends
 * @property {{overlay: import('./overlay.js').Overlay, object: number}[]} marked
 * @property {(overlay: import('./overlay.js').Overlay, object: number, size: number) => string} sign what stands at an object of a size on the screen
 * @property {(context: CanvasRenderingContext2D, scale: number) => void} [extra] drawn on top, in pixels of the image
 */

/** @typedef {{scale: number, x: number, y: number}} View scale, and the image's point in the middle of the screen */

export class Plane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} on
   * @param {(view: View | null) => void} on.view moved or enlarged by hand
   * @param {(x: number, y: number) => void} on.point pixel under the pointer, −1 for none
   * @param {(x: number, y: number) => void} on.pick pixel that was clicked
   * @param {(divider: number) => void} on.divide the swipe was moved
   */
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {View | null} */
    this.view = null; // null: fitted
    this.cross = [-1, -1];
    /** @type {Map<number, PointerEvent>} */
    this.pointers = new Map();
    /** @type {Record<'begin' | 'move' | 'end' | 'hover', (x: number, y: number) => void> | null} */
    this.tool = null; // takes the pointer instead of moving the image
    this.isDrawing = false;
    this.isMoved = false;
    this.isDividing = false;
    this.frame = 0;
    this.settle = 0;
    this.isCalm = true;
    canvas.addEventListener('wheel', (event) => this.wheeled(event), { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.moved(event));
    canvas.addEventListener('pointerup', (event) => this.up(event));
    canvas.addEventListener('pointercancel', (event) => this.up(event));
    canvas.addEventListener('pointerleave', () => this.on.point(-1, -1));
    canvas.addEventListener('dblclick', (event) => this.zoomBy(event.shiftKey ? 1 / 2 : 2, event.offsetX, event.offsetY));
    canvas.addEventListener('keydown', (event) => this.pressed(event));
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(canvas);
  }

  close() {
    this.watcher.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settle);
  }

  resize() {
    const ratio = devicePixelRatio;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.draw();
  }

  /** Scale that shows the whole image. */
  fitted() {
    if (!this.scene) return 1;
    const room = 8;
    const wide = (this.canvas.clientWidth - room) / this.scene.width;
    const high = (this.canvas.clientHeight - room) / this.scene.height;
    return Math.max(0.001, Math.min(wide, high, LARGEST));
  }

  /** @returns {View} */
  now() {
    if (this.view) return this.view;
    return { scale: this.fitted(), x: (this.scene?.width ?? 0) / 2, y: (this.scene?.height ?? 0) / 2 };
  }

  /** Left and top of the image on the canvas, CSS pixels. */
  origin() {
    const { scale, x, y } = this.now();
    return [this.canvas.clientWidth / 2 - x * scale, this.canvas.clientHeight / 2 - y * scale];
  }

  /** The image's point (not rounded) at a point of the canvas. @param {number} left @param {number} top */
  under(left, top) {
    const [x, y] = this.origin();
    const { scale } = this.now();
    return [(left - x) / scale, (top - y) / scale];
  }

  /** @param {View | null} view */
  look(view) {
    this.view = view;
    this.isCalm = false;
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      this.isCalm = true;
      this.draw();
    }, 120);
    this.draw();
  }

  /** @param {View | null} view */
  change(view) {
    if (view && this.scene) {
      view.scale = Math.max(Math.min(this.fitted(), 1) / 4, Math.min(LARGEST, view.scale));
      view.x = Math.max(0, Math.min(this.scene.width, view.x));
      view.y = Math.max(0, Math.min(this.scene.height, view.y));
    }
    this.look(view);
    this.on.view(view);
  }

  /** @param {number} factor @param {number} [left] the point of the canvas that stays @param {number} [top] */
  zoomBy(factor, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    const view = this.now();
    const [x, y] = this.under(left, top);
    const scale = Math.max(Math.min(this.fitted(), 1) / 4, Math.min(LARGEST, view.scale * factor));
    this.change({
      scale,
      x: x - (left - this.canvas.clientWidth / 2) / scale,
      y: y - (top - this.canvas.clientHeight / 2) / scale,
    });
  }

  /** @param {number} right @param {number} down CSS pixels */
  pan(right, down) {
    const view = this.now();
    this.change({ scale: view.scale, x: view.x - right / view.scale, y: view.y - down / view.scale });
  }

  /** @param {WheelEvent} event */
  wheeled(event) {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 30 : 1;
    this.zoomBy(Math.exp((-event.deltaY * unit) / 300), event.offsetX, event.offsetY);
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.isMoved = false;
    const [x, y] = this.under(event.offsetX, event.offsetY);
    const isNear = Math.abs(event.offsetX - (this.scene?.divider ?? 0) * this.canvas.clientWidth) < 12;
    this.isDividing = this.scene?.overlays.length === 2 && isNear;
    if (this.isDrawing) this.tool?.end(x, y); // a second finger
    this.isDrawing = this.tool !== null && !this.isDividing && this.pointers.size === 1 && event.button === 0 && !event.ctrlKey;
    if (this.isDrawing) this.tool?.begin(x, y);
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const [x, y] = this.under(event.offsetX, event.offsetY);
    this.on.point(Math.floor(x), Math.floor(y));
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.tool?.hover(x, y);
      return;
    }
    const right = event.offsetX - before.offsetX;
    const down = event.offsetY - before.offsetY;
    if (Math.abs(right) + Math.abs(down) < 3 && !this.isMoved && this.pointers.size === 1 && !this.isDrawing) return;
    this.isMoved = true;
    if (this.isDividing) this.on.divide(Math.max(0, Math.min(1, event.offsetX / this.canvas.clientWidth)));
    else if (this.pointers.size === 2) this.pinch(event);
    else if (this.isDrawing) this.tool?.move(x, y);
    else this.pan(right, down);
    this.pointers.set(event.pointerId, event);
  }

  /** Two fingers. @param {PointerEvent} event */
  pinch(event) {
    const [one, other] = [...this.pointers.values()];
    const still = one.pointerId === event.pointerId ? other : one;
    const before = one.pointerId === event.pointerId ? one : other;
    const far = Math.hypot(before.offsetX - still.offsetX, before.offsetY - still.offsetY);
    const now = Math.hypot(event.offsetX - still.offsetX, event.offsetY - still.offsetY);
    this.zoomBy(now / Math.max(1, far), (event.offsetX + still.offsetX) / 2, (event.offsetY + still.offsetY) / 2);
    this.pan((event.offsetX - before.offsetX) / 2, (event.offsetY - before.offsetY) / 2);
  }

  /** @param {PointerEvent} event */
  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const [x, y] = this.under(event.offsetX, event.offsetY);
    if (this.isDividing) this.isDividing = false;
    else if (this.isDrawing) {
      this.isDrawing = false;
      this.tool?.end(x, y);
    } else if (!this.isMoved && event.type === 'pointerup') this.on.pick(Math.floor(x), Math.floor(y));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (!event.shiftKey || !event.key.startsWith('Arrow')) return;
    const step = 60;
    if (event.key === 'ArrowLeft') this.pan(step, 0);
    if (event.key === 'ArrowRight') this.pan(-step, 0);
    if (event.key === 'ArrowUp') this.pan(0, step);
    if (event.key === 'ArrowDown') this.pan(0, -step);
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const { canvas, scene } = this;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!scene || !scene.width) return;
    const ratio = canvas.width / Math.max(1, canvas.clientWidth);
    const { scale } = this.now();
    const [left, top] = this.origin();
    context.imageSmoothingEnabled = scale * ratio < 1;
    context.imageSmoothingQuality = this.isCalm ? 'high' : 'low';
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * left, ratio * top);
    context.fillStyle = '#16181c';
    context.fillRect(0, 0, scene.width, scene.height);
    if (scene.photo && scene.layers.has('photo')) context.drawImage(scene.photo, 0, 0, scene.width, scene.height);
    const cut = scene.divider * canvas.width;
    scene.overlays.forEach((overlay, index) => {
      context.save();
      if (scene.overlays.length === 2) {
        const path = new Path2D();
        path.rect(index ? cut : 0, 0, index ? canvas.width - cut : cut, canvas.height);
        const kept = context.getTransform();
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clip(path);
        context.setTransform(kept);
      }
      this.side(context, scene, overlay, scene.maps[index], scale, ratio);
      context.restore();
    });
    scene.extra?.(context, scale);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (scale >= 24) this.lattice(context, scene, scale);
    if (scene.overlays.length === 2) {
      context.fillStyle = '#fff';
      context.fillRect(cut / ratio - 1, 0, 2, canvas.clientHeight);
      context.beginPath();
      context.arc(cut / ratio, canvas.clientHeight / 2, 9, 0, 7);
      context.fill();
    }
    this.crosshair(context, scale);
  }

  /**
   * @param {CanvasRenderingContext2D} context in pixels of the image
   * @param {Scene} scene
   * @param {import('./overlay.js').Overlay} overlay
   * @param {import('./overlay.js').LabelMap | null} map
   * @param {number} scale
   * @param {number} ratio
   */
  side(context, scene, overlay, map, scale, ratio) {
    const { layers } = scene;
    if (map && layers.has('map')) {
      context.globalAlpha = layers.has('photo') && scene.photo ? scene.opacity : 1;
      context.drawImage(map.canvas, 0, 0, map.step * map.canvas.width, map.step * map.canvas.height);
      context.globalAlpha = 1;
    }
    if (layers.has('masks')) {
      context.save();
      context.globalAlpha = scene.isDim ? 0.3 : 1;
      context.transform(0, 1, 1, 0, 0, 0);
      context.drawImage(overlay.canvas, 0, 0, overlay.step * overlay.canvas.width, overlay.step * overlay.canvas.height);
      context.restore();
    }
    for (const mark of scene.marked) if (mark.overlay === overlay) this.mark(context, overlay, mark.object, scale);
    if (!layers.has('masks')) return;
    for (let object = 0; object < overlay.masks.count; object++) {
      if (!overlay.shown[object] || !(layers.has('boxes') || !(overlay.masks.flags[object] & HAS_MASK))) continue;
      const { bbox } = overlay.masks;
      const given = Number.isNaN(bbox[4 * object]) ? overlay.box(object) : [...bbox.subarray(4 * object, 4 * object + 4)];
      if (Number.isNaN(given[0])) continue;
      context.lineWidth = 1.5 / scale;
      context.strokeStyle = css(overlay.colors[object]);
      context.strokeRect(given[0], given[1], given[2], given[3]);
    }
    if (layers.has('numbers') && !scene.isDim) this.numbers(context, scene, overlay, scale, ratio);
  }

  /** @param {CanvasRenderingContext2D} context @param {import('./overlay.js').Overlay} overlay @param {number} object @param {number} scale */
  mark(context, overlay, object, scale) {
    const [x, y, wide, high] = overlay.box(object);
    if (Number.isNaN(x)) return;
    const alone = overlay.alone(object);
    if (alone) {
      context.save();
      context.transform(0, 1, 1, 0, 0, 0);
      context.drawImage(alone, y, x, overlay.step * alone.width, overlay.step * alone.height);
      context.restore();
    }
    context.strokeStyle = '#fff';
    context.setLineDash([4 / scale, 3 / scale]);
    context.lineWidth = 1 / scale;
    context.strokeRect(x, y, wide, high);
    context.setLineDash([]);
  }

  /** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {import('./overlay.js').Overlay} overlay @param {number} scale @param {number} ratio */
  numbers(context, scene, overlay, scale, ratio) {
    const [left, top] = this.origin();
    const marked = new Set(scene.marked.filter((mark) => mark.overlay === overlay).map((mark) => mark.object));
    context.save();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = '600 11px system-ui, sans-serif';
    context.textBaseline = 'middle';
    let many = 0;
    for (const object of overlay.order) {
      if (!overlay.shown[object]) continue;
      const [x, y, wide, high] = overlay.box(object);
      if (!(Math.max(wide, high) * scale >= 14) && !marked.has(object)) continue;
      const at = [left + x * scale, top + y * scale];
      if (at[0] > this.canvas.clientWidth || at[1] > this.canvas.clientHeight) continue;
      if (at[0] + wide * scale < 0 || at[1] + high * scale < 0 || ++many > 300) continue;
      const text = scene.sign(overlay, object, Math.max(wide, high) * scale);
      const room = context.measureText(text).width + 8;
      const color = overlay.colors[object];
      const hasMask = overlay.masks.flags[object] & HAS_MASK;
      const pin = hasMask ? left + (overlay.tops[2 * object] + 0.5) * scale - room / 2 : at[0];
      const isTall = high * scale > this.canvas.clientHeight * 0.3 || marked.has(object); // its number stays when its top is not seen
      if (at[1] < 0 && !isTall) continue;
      const from = [Math.max(2, Math.min(this.canvas.clientWidth - room - 2, pin)), Math.max(2, at[1] - (hasMask ? 16 : 0))];
      context.fillStyle = css(color);
      context.beginPath();
      context.roundRect(from[0], from[1], room, 15, 3);
      context.fill();
      context.fillStyle = ink(color);
      context.fillText(text, from[0] + 4, from[1] + 8);
    }
    context.restore();
  }

  /** Lines between pixels. @param {CanvasRenderingContext2D} context @param {Scene} scene @param {number} scale */
  lattice(context, scene, scale) {
    const [left, top] = this.origin();
    const { clientWidth, clientHeight } = this.canvas;
    context.strokeStyle = 'rgba(127, 127, 127, 0.35)';
    context.lineWidth = 1;
    context.beginPath();
    for (let x = Math.max(0, Math.floor(-left / scale)); x <= scene.width && left + x * scale < clientWidth; x++) {
      context.moveTo(left + x * scale, Math.max(0, top));
      context.lineTo(left + x * scale, Math.min(clientHeight, top + scene.height * scale));
    }
    for (let y = Math.max(0, Math.floor(-top / scale)); y <= scene.height && top + y * scale < clientHeight; y++) {
      context.moveTo(Math.max(0, left), top + y * scale);
      context.lineTo(Math.min(clientWidth, left + scene.width * scale), top + y * scale);
    }
    context.stroke();
  }

  /** Where the pointer is on the other side. @param {CanvasRenderingContext2D} context @param {number} scale */
  crosshair(context, scale) {
    if (this.cross[0] < 0) return;
    const [left, top] = this.origin();
    const x = left + (this.cross[0] + 0.5) * scale;
    const y = top + (this.cross[1] + 0.5) * scale;
    for (const [width, color] of /** @type {[number, string][]} */ ([
      [3, 'rgba(0, 0, 0, 0.6)'],
      [1, '#fff'],
    ])) {
      context.lineWidth = width;
      context.strokeStyle = color;
      context.beginPath();
      context.moveTo(x - 9, y);
      context.lineTo(x + 9, y);
      context.moveTo(x, y - 9);
      context.lineTo(x, y + 9);
      context.stroke();
    }
  }
}
