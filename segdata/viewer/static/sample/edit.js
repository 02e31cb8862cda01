// @ts-check
/** The tools of correction beside an image. */

import { html, useState } from '../vendor/preact.js';
import { Choice } from './panel.js';
import { CROWD, DIFFICULT, OCCLUDED, TRUNCATED } from './runs.js';

const TOOLS = [
  ['select', 'Select', 's'],
  ['box', 'Box', 'b'],
  ['fore', '+ Stroke', 'q'],
  ['back', '− Stroke', 'w'],
  ['brush', 'Brush', 'd'],
  ['eraser', 'Eraser', 'x'],
  ['polygon', 'Polygon', 'v'],
];
const NEEDS = /** @type {Record<string, string[]>} */ ({ box: ['grabcut', 'model'], fore: ['grabcut', 'model'], back: ['grabcut', 'model'], polygon: ['polygon'] });
const FLAGS = /** @type {[string, string, number][]} */ ([
  ['iscrowd', 'Crowd', CROWD],
  ['difficult', 'Difficult', DIFFICULT],
  ['truncated', 'Truncated', TRUNCATED],
  ['occluded', 'Occluded', OCCLUDED],
]);
const WORDS = /** @type {Record<string, string>} */ ({
  mask: 'mask',
  add: 'new object',
  accept: 'prediction accepted',
  delete: 'deleted',
  category: 'category',
  flags: 'flags',
  map: 'label map',
  note: 'note',
  undo: 'undo',
});
const HINTS = /** @type {Record<string, string>} */ ({
  select: 'Click an object to correct it, or choose a tool to draw a new one.',
  box: 'Drag a box around the object: its mask is looked for inside.',
  fore: 'Stroke over what belongs to the object.',
  back: 'Stroke over what does not belong to it.',
  brush: 'Paint; [ and ] change the size. Middle button or Ctrl moves the image.',
  eraser: 'Take away; [ and ] change the size.',
  polygon: 'Click the corners; the first again, or Enter, closes it.',
});

/** @param {any} props */
function Category({ pack, value, onChange, label, hasVoid = false }) {
  return html`<select aria-label=${label} value=${value} onChange=${(/** @type {any} */ event) => onChange(Number(event.target.value))}>
    ${hasVoid ? html`<option value="-1" selected=${value < 0}>void</option>` : null}
    ${pack.labels.categories.map((/** @type {any} */ category, /** @type {number} */ index) => html`<option value=${index} selected=${index === value}>${category.name.slice(0, 60)}</option>`)}
  </select>`;
}

/** What another tab did meanwhile, and what to do. @param {any} props */
function Conflict({ editor }) {
  const edits = editor.conflict.edits ?? [];
  return html`<div class="conflict" role="alert">
    <b>This image was changed elsewhere.</b>
    <p>The picture shows what is saved now${editor.draft ? ', and above it what you drew' : ''}.</p>
    <ul>${edits.slice(-5).map((/** @type {any} */ edit) => html`<li>${edit.n}: ${WORDS[edit.op] ?? edit.op}${edit.of === undefined ? '' : ` of ${edit.of}`} <span class="quiet">${edit.at ?? ''} ${edit.by ?? ''}</span></li>`)}</ul>
    ${editor.draft ? html`<button onClick=${() => editor.save()}>Save mine, too</button> ` : null}
    <button onClick=${() => editor.drop()}>${editor.draft ? 'Keep theirs alone' : 'Go on'}</button>
  </div>`;
}

/** The object that is selected. @param {any} props */
function Selected({ editor, pack, chosen }) {
  const { overlay, object, prediction } = chosen;
  if (prediction >= 0) return html`<div class="edit-row"><button onClick=${() => editor.accept(prediction)} title="the prediction becomes an object of the truth (a)">Accept prediction ${prediction + 1}</button></div>`;
  if (object < 0 || !overlay) return null;
  const { masks } = overlay;
  return html`<div class="edit-row">
      <span class="number">Object ${object + 1}</span>
      <${Category} pack=${pack} label="category of the object" value=${masks.category[object]} onChange=${(/** @type {number} */ category) => editor.setCategory(object, category)} />
      <button onClick=${() => editor.remove(object)} title="delete (Delete)">Delete</button>
    </div>
    <div class="choice" role="group" aria-label="flags of the object">
      ${FLAGS.map(([name, text, bit]) => {
        const isSet = (masks.flags[object] & bit) !== 0;
        return html`<button aria-pressed=${isSet} onClick=${() => editor.setFlags(object, { [name]: !isSet })}>${text}</button>`;
      })}
    </div>`;
}

/** @param {any} props */
export function EditPanel({ editor, pack, chosen, hasMap }) {
  const [isListed, list] = useState(false);
  const tools = TOOLS.filter(([name]) => !NEEDS[name] || NEEDS[name].some((need) => pack.tools.includes(need)));
  const { draft, edits } = editor;
  const missing = tools.some(([name]) => name === 'box') ? null : html`<p class="quiet">Box and strokes need OpenCV: pip install 'segdata[edit]'.</p>`;
  const targets = [['new', 'New object'], ...(hasMap ? [['map', 'Label map']] : [])];
  return html`<section class="edit" aria-label="correction" aria-busy=${editor.isBusy}>
    <h2>Correction <span class="figure">${editor.isBusy ? '…' : `${edits.length} ${edits.length === 1 ? 'edit' : 'edits'}`}</span></h2>
    <div class="choice tools-choice" role="group" aria-label="tool">
      ${tools.map(([name, text, key]) => html`<button aria-pressed=${editor.tool === name} title=${`${text} (${key})`} onClick=${() => editor.choose(name)}>${text}</button>`)}
    </div>
    ${missing}
    <p class="quiet hint">${HINTS[editor.tool]}</p>
    ${['brush', 'eraser', 'fore', 'back'].includes(editor.tool)
      ? html`<label class="slider"><span>Size</span><input type="range" min="0.5" max="100" step="0.5" value=${editor.radius} onInput=${(/** @type {any} */ event) => ((editor.radius = Number(event.target.value)), editor.on.changed(), editor.on.drawn())} /><output>${editor.radius}</output></label>`
      : null}
    ${draft
      ? html`<div class="draft">
          ${editor.target === 'new' || editor.target === 'map'
            ? html`<div class="edit-row">
                <${Choice} label="what is drawn" options=${targets} value=${editor.target} onChange=${(/** @type {string} */ target) => editor.aim(target)} />
                <${Category} pack=${pack} label="its category" hasVoid=${editor.target === 'map'} value=${editor.category} onChange=${(/** @type {number} */ category) => editor.relabel(category)} />
              </div>`
            : html`<p>New mask of object ${editor.objects.indexOf(editor.target) + 1}</p>`}
          <div class="edit-row">
            ${pack.tools.includes('fill') ? html`<button onClick=${() => editor.improve('fill')}>Fill holes</button>` : null}
            ${pack.tools.includes('largest') ? html`<button onClick=${() => editor.improve('largest')}>Largest part</button>` : null}
            ${pack.tools.includes('grow')
              ? html`<button aria-label="grow by a pixel" title="grow by a pixel" onClick=${() => editor.improve('grow', { by: 1 })}>+1</button><button aria-label="shrink by a pixel" title="shrink by a pixel" onClick=${() => editor.improve('grow', { by: -1 })}>−1</button>`
              : null}
          </div>
          <div class="edit-row">
            <button class="primary" onClick=${() => editor.save()} title="save (Enter)">Save</button>
            <button onClick=${() => editor.drop()} title="drop what was drawn (Escape)">Cancel</button>
          </div>
        </div>`
      : html`<${Selected} editor=${editor} pack=${pack} chosen=${chosen} />`}
    ${draft || chosen.object >= 0 || editor.tool === 'select'
      ? null
      : html`<div class="edit-row"><span class="quiet">New object:</span><${Category} pack=${pack} label="category of new objects" value=${editor.category} onChange=${(/** @type {number} */ category) => editor.relabel(category)} /></div>`}
    <div class="edit-row">
      <button onClick=${() => editor.undo()} disabled=${!draft && !editor.counting().length} title="undo (u)">Undo</button>
      <button onClick=${() => editor.redo()} disabled=${!draft && !editor.lastUndo()} title="redo (Shift u)">Redo</button>
      <button aria-expanded=${isListed} onClick=${() => list(!isListed)} disabled=${!edits.length}>History</button>
    </div>
    ${isListed
      ? html`<ol class="history">
          ${[...edits].reverse().map(
            (/** @type {any} */ edit) =>
              html`<li class=${edit.undone ? 'undone' : ''}><span class="figure">${edit.n}</span> ${WORDS[edit.op] ?? edit.op}${edit.of === undefined ? '' : ` of ${edit.of}`} <span class="quiet">${(edit.at ?? '').slice(0, 16).replace('T', ' ')}</span></li>`,
          )}
        </ol>`
      : null}
    ${editor.conflict ? html`<${Conflict} editor=${editor} />` : null}
    ${editor.error ? html`<p class="wrong" role="alert">${editor.error.message} ${editor.error.why ?? ''} <span class="quiet">${editor.error.fix ?? ''}</span></p>` : null}
  </section>`;
}
