// @ts-check
/** Around an image: the bar of tools, the legend of matches, and what else is known of the sample. */

import { html } from '../vendor/preact.js';
import { shown } from './objects.js';
import { MATCH, css } from './overlay.js';

const SIDES = [
  ['truth', 'Truth'],
  ['predictions', 'Predictions'],
  ['other', 'Other'],
  ['both', 'Side by side'],
  ['swipe', 'Swipe'],
];
const COLORS = [
  ['category', 'Category'],
  ['object', 'Object'],
  ['match', 'Match'],
];
const LAYERS = [
  ['photo', 'Photo'],
  ['masks', 'Masks'],
  ['outline', 'Outline'],
  ['boxes', 'Boxes'],
  ['numbers', 'Numbers'],
  ['map', 'Label map'],
];

/** Buttons of which one is pressed. @param {any} props */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map((/** @type {string[]} */ [name, text]) => html`<button aria-pressed=${name === value} onClick=${() => onChange(name)}>${text}</button>`)}
  </div>`;
}

/** A slider with its value. @param {any} props */
export function Slider({ label, value, onInput, title }) {
  return html`<label class="slider" title=${title}>
    <span>${label}</span>
    <input type="range" min="0" max="1" step="0.01" value=${value} onInput=${(/** @type {any} */ event) => onInput(Number(event.target.value))} />
    <output>${value.toFixed(2)}</output>
  </label>`;
}

/** @param {any} props */
export function Tools({ pack, state, address, layers, isMapOnly, data, position, total, go }) {
  const hasMap = Boolean(data.t?.masks.hasMap || data.p?.masks.hasMap || data.o?.masks.hasMap);
  /** @param {string} name */
  const toggle = (name) => {
    let next = state.layers.filter((/** @type {string} */ layer) => layer !== name && layer !== 'nomap');
    if (!layers.has(name)) next.push(name);
    else if (name === 'map' && isMapOnly) next.push('nomap');
    address.set({ layers: next });
  };
  return html`<div class="tools">
    <div class="walk">
      <a class="button" href=${address.link({ page: 'grid', sample: -1, object: '', hide: [], zoom: '' })} title="back to the images (Escape)">← Images</a>
      <button onClick=${() => go.step(-1)} disabled=${position <= 0} aria-label="previous image" title="previous image (←, k)">‹</button>
      <button onClick=${() => go.step(1)} disabled=${position < 0 || position >= total - 1} aria-label="next image" title="next image (→, j)">›</button>
      <span class="title"><bdi>${data.facts?.key ?? ''}</bdi></span>
      ${pack.edits ? html`<button aria-pressed=${state.tool !== ''} class="edit-button" title="correct this image (e)" onClick=${() => address.set({ tool: state.tool ? '' : 'on', of: pack.other ? 'truth' : state.of === 'predictions' ? 'both' : state.of })}>Correct</button>` : null}
      <span class="quiet figure">${position >= 0 ? `${shown(position + 1)} of ${shown(total)}` : ''}</span>
    </div>
    ${pack.predictions ? html`<${Choice} label="what is drawn" options=${SIDES.filter(([name]) => name !== 'other' || pack.other)} value=${state.of} onChange=${(/** @type {string} */ of) => address.set({ of })} />` : null}
    <div class="looks">
      <div class="choice" role="group" aria-label="layers">
        ${LAYERS.filter(([name]) => name !== 'map' || hasMap).map(
          ([name, text]) => html`<button aria-pressed=${layers.has(name)} onClick=${() => toggle(name)}>${text}</button>`,
        )}
      </div>
      <${Choice}
        label="colour by"
        options=${COLORS.filter(([name]) => name !== 'match' || pack.predictions)}
        value=${state.color}
        onChange=${(/** @type {string} */ color) => address.set({ color })}
      />
      <${Slider} label="Fill" value=${state.fill} onInput=${(/** @type {number} */ fill) => address.set({ fill })} title="opacity of masks and label maps (f)" />
      ${pack.predictions?.has_scores || pack.other?.has_scores
        ? html`<${Slider} label="Score ≥" value=${state.score} onInput=${(/** @type {number} */ score) => address.set({ score })} title="predictions below it are not drawn and not counted" />`
        : null}
      ${pack.predictions && state.color === 'match'
        ? html`<${Slider} label="IoU ≥" value=${state.iou} onInput=${(/** @type {number} */ iou) => address.set({ iou })} title="from which IoU an object counts as found" />`
        : null}
    </div>
  </div>`;
}

/** Larger, smaller, fitted. @param {any} props */
export function Zoom({ planes, isFitted }) {
  const plane = () => [...planes.values()][0];
  return html`<div class="choice zoom" role="group" aria-label="zoom">
    <button onClick=${() => plane()?.zoomBy(1 / 1.5)} aria-label="smaller" title="smaller (-)">−</button>
    <button onClick=${() => plane()?.change(null)} aria-pressed=${isFitted} title="fit (0)">Fit</button>
    <button onClick=${() => plane()?.zoomBy(1.5)} aria-label="larger" title="larger (+)">+</button>
  </div>`;
}

/** What the colours of matches mean. @param {any} props */
export function Legend({ state, matches, name }) {
  if (state.color !== 'match' || !matches) return null;
  const counts = /** @type {Record<string, number>} */ ({ tp: matches.tp, fp: matches.fp, fn: matches.fn });
  return html`<div class="legend">
    ${name ? html`<b>${name}</b>` : null}
    ${Object.entries(MATCH).map(
      ([what, { color, sign, name }]) => html`<span><span class="chip" style=${{ background: css(color) }}></span>${sign} ${name}${what in counts ? ` ${counts[what]}` : ''}</span>`,
    )}
    ${matches.f1 === null || matches.f1 === undefined ? null : html`<span class="figure">F1 ${matches.f1.toFixed(2)}</span>`}
  </div>`;
}

/** @param {any} value */
function text(value) {
  const whole = typeof value === 'string' ? value : JSON.stringify(value, null, 1);
  return whole.length > 4000 ? `${whole.slice(0, 4000)} …` : whole;
}

/** What the source says of a sample. @param {any} props */
export function Facts({ data, state, pack }) {
  const { facts } = data;
  if (!facts) return null;
  const rows = [
    ['Key', facts.key],
    ['File', facts.file],
    ['Id', facts.id],
    ['Split', facts.split?.join(', ')],
    ['Size', `${facts.width} × ${facts.height}`],
    ['Image', facts.codec ? `${facts.codec}, ${shown(facts.bytes)} bytes` : null],
    ['Problem', facts.problem],
  ].filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== -1 && value !== false);
  const { captions, ...rest } = facts.extra ?? {};
  const overlay = data[state.object[0]];
  const object = state.object ? facts.objects?.[Number(state.object.slice(1))] : null;
  const category = overlay && state.object[0] === 't' && object ? pack.labels.categories[object.category]?.name : null;
  return html`<section aria-label="about this image">
    ${category && object.extra && Object.keys(object.extra).length
      ? html`<h2>${category} ${Number(state.object.slice(1)) + 1}</h2><pre>${text(object.extra)}</pre>`
      : null}
    <h2>About</h2>
    <dl>${rows.map(([name, value]) => html`<dt>${name}</dt><dd><bdi>${String(value)}</bdi></dd>`)}</dl>
    ${Array.isArray(captions) && captions.length
      ? html`<h2>Captions</h2><ul class="captions">${captions.map((caption) => html`<li>${text(caption)}</li>`)}</ul>`
      : null}
    ${Object.keys(rest).length ? html`<details><summary>What else the source says</summary><pre>${text(rest)}</pre></details>` : null}
  </section>`;
}
