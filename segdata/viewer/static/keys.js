// @ts-check
/** Keys of the page, and the sheet that lists them. */

import { html, useEffect, useRef } from './vendor/preact.js';

const KEYS = [
  ['Everywhere', [['/', 'write a query'], ['?', 'this list'], ['g', 'find by key or id'], ['Escape', 'back, or close']]],
  ['Images', [['← → ↑ ↓, j k', 'move between images'], ['Page Up, Page Down, Home, End', 'a screen, the ends'], ['Enter', 'open'], ['o', 'masks on tiles'], ['f', 'filters']]],
  [
    'One image',
    [
      ['← →, j k', 'previous, next image'],
      ['↑ ↓', 'previous, next object'],
      ['1 … 9', 'draw a category or not'],
      ['o', 'masks'],
      ['p', 'truth, predictions, other, side by side, swipe'],
      ['f', 'fill or outline alone'],
      ['m', 'label map'],
      ['i', 'photo'],
      ['c', 'colour by category, object, match'],
      ['+ − 0', 'larger, smaller, fit'],
      ['Shift + arrows', 'move the enlarged image'],
      ['e', 'correct, with --edit'],
    ],
  ],
  [
    'Correction',
    [
      ['s b q w', 'select, box, stroke for, stroke against'],
      ['d x v', 'brush, eraser, polygon'],
      ['[ ]', 'smaller, larger brush'],
      ['Enter, Escape', 'save, cancel'],
      ['u, Shift + u', 'undo, redo; Ctrl + z, too'],
      ['a, Delete', 'accept the prediction, delete the object'],
    ],
  ],
];

/** @param {any} props */
export function KeySheet({ onClose }) {
  const dialog = useRef(/** @type {any} */ (null));
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return html`<dialog ref=${dialog} class="keys" aria-label="keys" onClose=${onClose} onClick=${(/** @type {Event} */ event) => event.target === dialog.current && dialog.current.close()}>
    <header><h1>Keys</h1><button aria-label="close" onClick=${() => dialog.current.close()}>×</button></header>
    <div class="columns">
      ${KEYS.map(
        ([title, rows]) => html`<section>
          <h2>${title}</h2>
          <dl>${/** @type {string[][]} */ (/** @type {unknown} */ (rows)).map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
        </section>`,
      )}
    </div>
  </dialog>`;
}

/** @param {any} list @param {any} item */
const toggled = (list, item) => (list.includes(item) ? list.filter((/** @type {any} */ other) => other !== item) : [...list, item]);

/**
 * Listens on the document; keys typed into a field are the field's.
 *
 * @param {any} app pack, address, go, frame, toggleSheet, toggleFacets
 */
export function listen(app) {
  document.addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const isField = target.matches('input:not([type=range], [type=checkbox]), textarea, select');
    if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
    if (!isField && app.address.state.page === 'sample' && app.frame.editor && !isPressed(target, event) && app.frame.editor.press(event, app.frame.chosen)) {
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (isField) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    if (target.matches('input[type=range]') && event.key.startsWith('Arrow')) return;
    if (press(event, app)) event.preventDefault();
  });
}

/** Whether a key presses the button or link that has the focus. @param {HTMLElement} target @param {KeyboardEvent} event */
const isPressed = (target, event) => event.key === 'Enter' && target.matches('button, a, summary');

/** @param {KeyboardEvent} event @param {any} app @returns {boolean} whether the key means something */
function press(event, app) {
  const { address } = app;
  const { state } = address;
  const { key } = event;
  if (key === '/') return app.focus('query');
  if (key === 'g') return app.focus('find');
  if (key === '?') return app.toggleSheet();
  if (state.page === 'grid') {
    if (key === 'o') address.set({ tiles: state.tiles === 'masks' ? 'photo' : 'masks' });
    else if (key === 'f') app.toggleFacets();
    else if (/^(Arrow.*|j|k|Home|End|PageUp|PageDown)$/.test(key)) app.frame.grid?.pressed(event);
    else return false;
    return true;
  }
  if (key === 'Escape') {
    if (state.page === 'sample' && state.object) address.set({ object: '' });
    else app.go.back();
    return true;
  }
  return state.page === 'sample' && pressSample(key, event, app);
}

/** @param {string} key @param {KeyboardEvent} event @param {any} app */
function pressSample(key, event, app) {
  const { address, go, frame, pack } = app;
  const { state } = address;
  const plane = [...(frame.planes?.values() ?? [])][0];
  const next = (/** @type {string[]} */ values, /** @type {string} */ value) => values[(values.indexOf(value) + 1) % values.length];
  if (event.shiftKey && key.startsWith('Arrow')) plane?.pressed(event);
  else if (key === 'ArrowLeft' || key === 'k') go.step(-1);
  else if (key === 'ArrowRight' || key === 'j') go.step(1);
  else if (key === 'ArrowUp') go.object(-1);
  else if (key === 'ArrowDown') go.object(1);
  else if (/^[1-9]$/.test(key) && frame.categories?.[Number(key) - 1] !== undefined) address.set({ off: toggled(state.off, frame.categories[Number(key) - 1]) });
  else if (key === 'o') address.set({ layers: toggled(state.layers, 'masks') });
  else if (key === 'i') address.set({ layers: toggled(state.layers, 'photo') });
  else if (key === 'm') frame.toggleMap ? frame.toggleMap() : address.set({ layers: toggled(state.layers, 'map') });
  else if (key === 'f') address.set({ fill: state.fill > 0 ? 0 : 0.45 });
  else if (key === 'e' && pack.edits) address.set({ tool: state.tool ? '' : 'on', of: pack.other ? 'truth' : state.of });
  else if (key === 'p' && pack.predictions) address.set({ of: next(['truth', 'predictions', ...(pack.other ? ['other'] : []), 'both', 'swipe'], state.of) });
  else if (key === 'c') address.set({ color: next(pack.predictions ? ['category', 'object', 'match'] : ['category', 'object'], state.color) });
  else if (key === '+' || key === '=') plane?.zoomBy(1.5);
  else if (key === '-') plane?.zoomBy(1 / 1.5);
  else if (key === '0') plane?.change(null);
  else return false;
  return true;
}
