// @ts-check
/** The list beside an image: its categories and objects, each of which can be drawn or not. */

import { html, useState } from '../vendor/preact.js';
import { MATCH, css, objectColor } from './overlay.js';
import { CROWD, DIFFICULT, HAS_MASK, OCCLUDED, TRUNCATED } from './runs.js';

const MOST = 2000; // rows
const OPEN = 60; // up to so many objects are listed at once

/** @param {number} flags */
export function flagNames(flags) {
  const names = [];
  if (flags & CROWD) names.push('crowd');
  if (flags & DIFFICULT) names.push('difficult');
  if (flags & TRUNCATED) names.push('truncated');
  if (flags & OCCLUDED) names.push('occluded');
  if (!(flags & HAS_MASK)) names.push('box only');
  return names;
}

/** @param {number} number @param {number} [digits] */
export const shown = (number, digits = 0) => number.toLocaleString('en', { maximumFractionDigits: digits });

/** Area as annotated, else of the mask, in words; '' where there is neither. @param {import('./runs.js').Masks} masks @param {number} object */
export function areaOf(masks, object) {
  const area = masks.area[object];
  if (!Number.isNaN(area)) return shown(area, 1);
  return masks.flags[object] & HAS_MASK ? shown(masks.pixels[object]) : '';
}

/**
 * tp, fp, fn or none: what became of an object.
 *
 * @param {any} matches the server's answer
 * @param {'t' | 'p' | 'o'} side
 * @param {number} object
 * @returns {'tp' | 'fp' | 'fn' | 'none'}
 */
export function fate(matches, side, object) {
  if (!matches) return 'none';
  const isTruth = side === 't';
  const counted = isTruth ? matches.counted.truth : matches.counted.predictions;
  if (counted[object] === false) return 'none';
  if ((isTruth ? matches.truth : matches.predictions)[object] >= 0) return 'tp';
  return isTruth ? 'fn' : 'fp';
}

/**
 * @param {any} pack
 * @param {import('./runs.js').Masks} masks
 * @param {'t' | 'p' | 'o'} side
 * @param {string} color category, object or match
 * @param {any} matches
 * @returns {number[][]} RGB per object
 */
export function colorsOf(pack, masks, side, color, matches) {
  return Array.from({ length: masks.count }, (_, object) => {
    if (color === 'object') return objectColor(object);
    if (color === 'match' && matches) return MATCH[fate(matches, side, object)].color;
    return pack.labels.categories[masks.category[object]]?.color ?? [128, 128, 128];
  });
}

/**
 * Categories of an image, the most frequent first.
 *
 * @param {any} pack
 * @param {import('./runs.js').Masks[]} sides
 * @returns {{name: string, index: number, color: number[]}[]}
 */
export function categoriesOf(pack, sides) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const masks of sides) for (const index of masks.category) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1] || a[0] - b[0])
    .map(([index]) => ({ index, name: pack.labels.categories[index]?.name ?? `category ${index}`, color: pack.labels.categories[index]?.color ?? [128, 128, 128] }));
}

/** @param {any} props */
function Row({ list, object }) {
  const { masks, side, matches, colors, hide, selected, on, signs } = list;
  const name = `${side}${object}`;
  const isShown = !hide.has(name);
  const score = masks.score[object];
  const words = flagNames(masks.flags[object]);
  const iou = side !== 't' && matches?.predictions[object] >= 0 ? matches.iou[object] : null;
  return html`<li class=${`object ${selected === name ? 'selected' : ''}`} onMouseEnter=${() => on.mark(name)} onMouseLeave=${() => on.mark('')}>
    <input type="checkbox" checked=${isShown} aria-label=${`draw object ${object + 1}`} onChange=${() => on.hide(name, isShown)} />
    <button class="row" aria-pressed=${selected === name} onClick=${() => on.select(selected === name ? '' : name)}>
      <span class="chip" style=${{ background: css(colors[object]) }}></span>
      <span class="number">${object + 1}${signs ? ` ${MATCH[fate(matches, side, object)].sign}` : ''}</span>
      <span class="words">${words.join(', ')}</span>
      ${iou !== null ? html`<span class="figure" title="IoU with the object it was matched with">IoU ${iou.toFixed(2)}</span>` : null}
      ${Number.isNaN(score) ? null : html`<span class="figure" title="score">${score.toFixed(2)}</span>`}
      <span class="figure" title="area in pixels">${areaOf(masks, object)}</span>
    </button>
  </li>`;
}

/** @param {any} props */
function Group({ list, category, objects, hint, startsOpen }) {
  const [isOpen, open] = useState(startsOpen);
  const { off, on } = list;
  const isShown = !off.has(category.name);
  return html`<li class="group">
    <div class="group-head">
      <input type="checkbox" checked=${isShown} aria-label=${`draw ${category.name}`} onChange=${() => on.toggle(category.name)} />
      <button class="row" aria-expanded=${isOpen} onClick=${() => open(!isOpen)} onDblClick=${() => on.solo(category.name)} title="double-click: this category alone">
        <span class="chip big" style=${{ background: css(category.color) }}></span>
        <span class="name">${category.name}</span>
        ${hint ? html`<kbd>${hint}</kbd>` : null}
        <span class="figure">${objects.length}</span>
      </button>
    </div>
    ${isOpen ? html`<ul class="objects">${objects.map((/** @type {number} */ object) => html`<${Row} key=${object} list=${list} object=${object} />`)}</ul>` : null}
  </li>`;
}

/** Categories of a label map with their shares of the image. @param {any} props */
export function MapList({ pack, map, title, off, on, hints }) {
  return html`<section aria-label=${title}>
    <h2>${title}</h2>
    <ul class="groups">
      ${map.shares.map((/** @type {[number, number]} */ [index, share]) => {
        const category = pack.labels.categories[index];
        const hint = hints.indexOf(category?.name) + 1;
        return html`<li class="group" key=${index}>
          <div class="group-head">
            <input type="checkbox" checked=${category && !off.has(category.name)} disabled=${!category} aria-label=${`draw ${category?.name ?? 'void'}`} onChange=${() => on.toggle(category.name)} />
            <span class="row"><span class="chip big" style=${{ background: category ? css(category.color) : 'transparent' }}></span><span class="name">${category?.name ?? html`<i>void</i>`}</span>
            ${hint > 0 && hint < 10 ? html`<kbd>${hint}</kbd>` : null}<span class="figure">${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %</span></span>
          </div>
        </li>`;
      })}
    </ul>
  </section>`;
}

/** @param {any} props list: {masks, side, matches, colors, hide, off, selected, on, signs}; title; categories; least score */
export function ObjectList({ list, title, categories, least }) {
  const { masks } = list;
  /** @type {Map<number, number[]>} */
  const groups = new Map();
  let rows = 0;
  let hidden = 0;
  for (let object = 0; object < masks.count; object++) {
    if (masks.score[object] < least) {
      hidden++;
      continue;
    }
    if (++rows > MOST) continue;
    const index = masks.category[object];
    const group = groups.get(index);
    if (group) group.push(object);
    else groups.set(index, [object]);
  }
  const startsOpen = rows <= OPEN;
  return html`<section aria-label=${title}>
    <h2>${title}<span class="figure">${shown(rows)}</span></h2>
    ${masks.annotated || masks.count ? null : html`<p class="quiet">Objects of this image were not annotated.</p>`}
    ${masks.annotated && !masks.count ? html`<p class="quiet">No object.</p>` : null}
    <ul class="groups">
      ${categories
        .filter((/** @type {any} */ category) => groups.has(category.index))
        .map(
          (/** @type {any} */ category) =>
            html`<${Group}
              key=${`${category.index} ${startsOpen}`}
              list=${list}
              category=${category}
              objects=${groups.get(category.index)}
              hint=${category.hint}
              startsOpen=${startsOpen}
            />`,
        )}
    </ul>
    ${rows > MOST ? html`<p class="quiet">The first ${shown(MOST)} are listed; all are drawn.</p>` : null}
    ${hidden ? html`<p class="quiet">${shown(hidden)} below score ${least.toFixed(2)}.</p>` : null}
  </section>`;
}
