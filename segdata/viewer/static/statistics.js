// @ts-check
/** What the pack holds, counted: the tables of `segdata stats`. */

import { html, useState } from './vendor/preact.js';
import { Waiting, useComputed } from './errors.js';
import { shown } from './filters.js';
import { Choice } from './sample/panel.js';
import { css } from './sample/overlay.js';

const NAMES = /** @type {Record<string, string>} */ ({
  images: 'Images',
  instances: 'Objects',
  categories_that_occur: 'Categories that occur',
  annotated_images: 'Images with annotated objects',
  semantic_images: 'Images with a label map',
  instances_per_image_min: 'Objects in an image: least',
  instances_per_image_median: '… median',
  instances_per_image_mean: '… mean',
  instances_per_image_max: '… most',
  small: 'Small objects (< 32² px)',
  medium: 'Medium objects',
  large: 'Large objects (≥ 96² px)',
  of_unknown_size: 'Of unknown size',
  overlap_share: 'Pixels of masks under more than one',
  overlap_image_share: 'Images in which masks overlap',
  void_share: 'Void pixels',
});

/** @param {string} name @param {any} value */
function figure(name, value) {
  if (value === null || value === undefined) return '–';
  if (name.endsWith('share')) return `${(100 * value).toFixed(value < 0.1 ? 2 : 1)} %`;
  return Number.isInteger(value) ? shown(value) : value.toFixed(2);
}

/** A histogram of bars. @param {any} props */
function Bars({ rows, label }) {
  const most = Math.max(1, ...rows.map((/** @type {any} */ row) => row.count));
  const every = Math.ceil(rows.length / 8);
  return html`<div class="bars" role="img" aria-label=${`${label}: ${rows.map((/** @type {any} */ row) => `${row.name} ${row.count}`).join(', ')}`}>
    ${rows.map(
      (/** @type {any} */ row, /** @type {number} */ index) =>
        html`<span class="column" title=${`${row.name}: ${shown(row.count)}`}>
          <i style=${{ height: `${Math.max(row.count ? 2 : 0, (100 * row.count) / most)}%` }}></i>
          <em>${index % every ? '' : row.short ?? row.name}</em>
        </span>`,
    )}
  </div>`;
}

/** Objects per image in at most 24 columns. @param {Record<string, number>} counts */
function binned(counts) {
  const numbers = Object.keys(counts).map(Number);
  if (!numbers.length) return [];
  const most = Math.max(...numbers);
  const step = Math.max(1, Math.ceil((most + 1) / 24));
  const rows = Array.from({ length: Math.floor(most / step) + 1 }, (_, bin) => ({ name: step === 1 ? String(bin) : `${bin * step}–${bin * step + step - 1}`, short: String(bin * step), count: 0 }));
  for (const number of numbers) rows[Math.floor(number / step)].count += counts[String(number)];
  return rows;
}

/** @param {any} props */
function Categories({ pack, rows }) {
  const [sort, setSort] = useState('');
  const columns = [
    ['instances', 'Objects'],
    ['images', 'Images'],
    ['pixel_share', 'Pixels'],
    ['small', 'Small'],
    ['medium', 'Medium'],
    ['large', 'Large'],
  ];
  const sorted = rows.map((/** @type {any} */ row, /** @type {number} */ index) => ({ ...row, color: pack.labels.categories[index]?.color }));
  if (sort) sorted.sort((/** @type {any} */ a, /** @type {any} */ b) => (b[sort] ?? -1) - (a[sort] ?? -1));
  const most = Math.max(1, ...rows.map((/** @type {any} */ row) => row.instances || 0));
  return html`<div class="table-box"><table class="figures">
    <thead><tr>
      <th scope="col"><button aria-pressed=${sort === ''} onClick=${() => setSort('')}>Category</button></th>
      ${columns.map(([name, text]) => html`<th scope="col" class="figure" aria-sort=${sort === name ? 'descending' : 'none'}><button aria-pressed=${sort === name} onClick=${() => setSort(name)}>${text}</button></th>`)}
    </tr></thead>
    <tbody>
      ${sorted.map(
        (/** @type {any} */ row) => html`<tr>
          <th scope="row"><span class="chip" style=${{ background: css(row.color ?? [128, 128, 128]) }}></span>${row.name}<span class="bar" style=${{ transform: `scaleX(${(row.instances || 0) / most})` }}></span></th>
          ${columns.map(([name]) => html`<td class="figure">${figure(name, row[name])}</td>`)}
        </tr>`,
      )}
    </tbody>
  </table></div>`;
}

/** What was odd when the pack was made. @param {any} props */
function Problems({ problems }) {
  const groups = ['remarks', 'skipped', 'losses'].flatMap((kind) => Object.entries(problems?.[kind] ?? {}).map(([name, item]) => ({ kind, name, item: /** @type {any} */ (item) })));
  if (!groups.length) return null;
  return html`<section><h2>What was odd in the source</h2><dl class="problems">
    ${groups.map(({ kind, name, item }) => {
      const count = typeof item === 'number' ? item : item?.count;
      const examples = Array.isArray(item?.examples) ? item.examples.slice(0, 5).map(String).join(', ') : '';
      return html`<dt><span class="quiet">${kind === 'remarks' ? 'remark' : kind === 'skipped' ? 'skipped' : 'lost'}</span> ${name}</dt><dd>${count === undefined ? '' : shown(count)} <span class="quiet">${examples}</span></dd>`;
    })}
  </dl></section>`;
}

/** @param {any} props */
export function StatisticsPage({ pack }) {
  const answer = useComputed('statistics', {});
  const [chosen, choose] = useState('');
  if (!answer.value) return html`<main class="report"><${Waiting} answer=${answer} /></main>`;
  const { splits, total, problems, shared } = answer.value;
  const names = Object.keys(splits ?? {});
  const tally = splits?.[chosen] ?? total;
  const rows = Object.keys(NAMES).filter((name) => tally[name] !== undefined && tally[name] !== null);
  const perImage = binned(tally.per_image ?? {});
  const sizes = tally.image_sizes ?? [];
  return html`<main class="report">
    ${names.length > 1 ? html`<div class="bar"><${Choice} label="split" options=${[['', 'All'], ...names.map((name) => [name, name])]} value=${chosen} onChange=${choose} /></div>` : null}
    <div class="report-columns even">
      <section><h2>In all</h2>
        <dl class="figures-list">${rows.map((name) => html`<dt>${NAMES[name]}</dt><dd class="figure">${figure(name, tally[name])}</dd>`)}</dl>
      </section>
      <div>
        ${perImage.length ? html`<section><h2>Objects in an image</h2><${Bars} rows=${perImage} label="images by number of objects" /></section>` : null}
        ${tally.instances ? html`<section><h2>Size of objects</h2><${Bars} rows=${[['small', '< 32²'], ['medium', '32² … 96²'], ['large', '≥ 96²']].map(([name, text]) => ({ name: text, count: tally[name] ?? 0 }))} label="objects by size" /></section>` : null}
        <section><h2>Size of images</h2><ul class="sizes">
          ${sizes.slice(0, 8).map((/** @type {any} */ size) => html`<li><span>${size.width} × ${size.height}</span><span class="figure">${shown(size.images)}</span></li>`)}
          ${sizes.length > 8 ? html`<li class="quiet"><span>${sizes.length - 8} other sizes</span><span class="figure">${shown(sizes.slice(8).reduce((/** @type {number} */ sum, /** @type {any} */ size) => sum + size.images, 0))}</span></li>` : null}
        </ul></section>
      </div>
    </div>
    <section><h2>Categories</h2><${Categories} pack=${pack} rows=${tally.categories ?? []} /></section>
    ${shared?.length ? html`<section><h2>Splits that share images</h2><ul>${shared.map((/** @type {any} */ pair) => html`<li>${pair.splits.join(' and ')}: ${shown(pair.samples)}</li>`)}</ul></section>` : null}
    <${Problems} problems=${problems} />
  </main>`;
}
