// @ts-check
/** What is shown of all images: the query, the facets with their counts, search by key or id. */

import { html, useEffect, useRef, useState } from './vendor/preact.js';
import { isAbort, json } from './server.js';
import { css } from './sample/overlay.js';

const FLAGS = [
  ['crowds', 'Crowds'],
  ['difficult', 'Difficult'],
  ['box_only', 'Box without mask'],
  ['has_semantic', 'Label map'],
  ['problems', 'Problem'],
  ['tp', 'Found (TP)'],
  ['fp', 'False alarms (FP)'],
  ['fn', 'Missed (FN)'],
];
const SIZES = [
  ['small', 'Small', '< 32² px'],
  ['medium', 'Medium', '32² … 96² px'],
  ['large', 'Large', '≥ 96² px'],
  ['of_unknown_size', 'Unknown', ''],
];
const FIRST = 24; // categories shown before "all"

/** @param {number} number */
export const shown = (number) => number.toLocaleString('en');

/** Shows where a query is wrong. @param {any} props */
export function QueryError({ error, query, shift }) {
  if (!error) return null;
  const columns = error.columns?.map((/** @type {number} */ column) => column - shift);
  return html`<div class="query-error" role="alert" id="query-error">
    ${columns
      ? html`<code aria-hidden="true"
          >${query.slice(0, columns[0] - 1)}<mark>${query.slice(columns[0] - 1, columns[1]) || ' '}</mark>${query.slice(columns[1])}</code
        >`
      : null}
    <p>${columns ? html`<b>Column ${columns[0]}:</b> ` : null}${error.message}${error.why ? html` <span class="quiet">${error.why}</span>` : null}</p>
    ${error.fix ? html`<p class="quiet">${error.fix}</p>` : null}
  </div>`;
}

/** The line in which a query is typed. @param {any} props */
export function QueryBox({ value, error, shift, onQuery }) {
  const [text, set] = useState(value);
  const input = useRef(/** @type {any} */ (null));
  useEffect(() => set(value), [value]);
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    onQuery(text.trim());
  };
  return html`<form class="query" role="search" onSubmit=${submit}>
    <input
      ref=${input}
      id="query"
      type="text"
      value=${text}
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      enterkeyhint="search"
      aria-label="query"
      aria-invalid=${Boolean(error)}
      aria-describedby=${error ? 'query-error' : null}
      placeholder="any(category == 'dog' and area > 96**2)"
      onInput=${(/** @type {any} */ event) => set(event.target.value)}
    />
    ${text
      ? html`<button type="button" class="clear" aria-label="clear the query" onClick=${() => (set(''), onQuery(''), input.current?.focus())}>×</button>`
      : html`<kbd aria-hidden="true">/</kbd>`}
    <${QueryError} error=${error} query=${value} shift=${shift} />
  </form>`;
}

/** Jump to an image by its key or id. @param {any} props */
export function Find({ address }) {
  const [text, set] = useState('');
  const [results, setResults] = useState(/** @type {any} */ (null));
  const [chosen, choose] = useState(0);
  useEffect(() => {
    if (!text.trim()) {
      setResults(null);
      return undefined;
    }
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const { ids } = await json('find', { text: text.trim() }, { signal: control.signal });
        const first = ids.slice(0, 12);
        const tiles = first.length ? await json('tiles', { ids: first.join(',') }, { signal: control.signal }) : [];
        setResults({ all: ids.length, tiles });
        choose(0);
      } catch (error) {
        if (!isAbort(error)) setResults({ all: 0, tiles: [] });
      }
    }, 120);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [text]);
  const open = (/** @type {number} */ sample) => {
    set('');
    address.set({ page: 'sample', sample, object: '', hide: [], zoom: '' });
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    const many = results?.tiles.length ?? 0;
    if (event.key === 'Escape' && text) {
      set('');
      event.stopPropagation();
    } else if (event.key === 'ArrowDown' && many) choose((chosen + 1) % many);
    else if (event.key === 'ArrowUp' && many) choose((chosen + many - 1) % many);
    else if (event.key === 'Enter' && many) open(results.tiles[chosen].i);
    else return;
    event.preventDefault();
  };
  return html`<div class="find">
    <input
      id="find"
      type="text"
      role="combobox"
      aria-expanded=${Boolean(results)}
      aria-controls="found"
      aria-activedescendant=${results?.tiles.length ? `found-${chosen}` : null}
      aria-label="find an image by key or id"
      placeholder="Key or id"
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      value=${text}
      onInput=${(/** @type {any} */ event) => set(event.target.value)}
      onKeyDown=${pressed}
      onBlur=${() => setTimeout(() => set(''), 200)}
    />
    ${results
      ? html`<ul id="found" role="listbox" class="found">
          ${results.tiles.map(
            (/** @type {any} */ tile, /** @type {number} */ index) =>
              html`<li id=${`found-${index}`} role="option" aria-selected=${index === chosen} onMouseDown=${() => open(tile.i)}>
                <bdi>${tile.key}</bdi><span class="quiet figure">${tile.id >= 0 ? tile.id : ''}</span>
              </li>`,
          )}
          ${results.tiles.length ? null : html`<li class="quiet">nothing has this in its key or as its id</li>`}
          ${results.all > results.tiles.length ? html`<li class="quiet">${results.all >= 200 ? 'many' : results.all - results.tiles.length} more: type on</li>` : null}
        </ul>`
      : null}
  </div>`;
}

/** @param {any} props */
function Facet({ title, children }) {
  return html`<section class="facet"><h2>${title}</h2>${children}</section>`;
}

/** A line of a facet: name, count, share as a bar. @param {any} props */
function Line({ name, note, count, most, pressed, color, onClick }) {
  const share = most ? Math.min(1, count / most) : 0;
  return html`<li>
    <button class="line" aria-pressed=${pressed} disabled=${!count && pressed === 'false'} onClick=${onClick}>
      ${color ? html`<span class="chip" style=${{ background: css(color) }}></span>` : null}
      <span class="name">${name}</span>
      ${note ? html`<span class="quiet note">${note}</span>` : null}
      <span class="figure">${count === null ? '' : shown(count)}</span>
      <span class="bar" style=${{ transform: `scaleX(${share})` }}></span>
    </button>
  </li>`;
}

/** @param {any} props counts: of the facets; splits: counts without the split's own filter */
export function Facets({ pack, state, address, counts, splits, onClose }) {
  const [isAll, all] = useState(false);
  const [filter, setFilter] = useState('');
  const { categories } = pack.labels;
  const has = new Set(state.has);
  const without = new Set(state.without);
  /** @type {{category: any, images: number, objects: number, index: number}[]} */
  const rows = categories.map((/** @type {any} */ category, /** @type {number} */ index) => {
    const [images, objects] = counts?.categories[index] ?? [category.images ?? 0, category.objects ?? 0];
    return { category, index, images, objects };
  });
  const fitting = rows.filter(({ category }) => category.name.toLowerCase().includes(filter.trim().toLowerCase()));
  fitting.sort((a, b) => Number(has.has(b.category.name) || without.has(b.category.name)) - Number(has.has(a.category.name) || without.has(a.category.name)) || b.images - a.images || a.index - b.index);
  const listed = isAll || filter ? fitting : fitting.slice(0, FIRST);
  const most = Math.max(1, ...rows.map((row) => row.images));
  /** @param {string} name */
  const cycle = (name) => {
    const less = (/** @type {string[]} */ names) => names.filter((other) => other !== name);
    if (has.has(name)) address.set({ has: less(state.has), without: [...state.without, name], top: 0 });
    else if (without.has(name)) address.set({ without: less(state.without), top: 0 });
    else address.set({ has: [...state.has, name], top: 0 });
  };
  const flags = FLAGS.filter(([name]) => state.flags.includes(name) || (counts?.[name] ?? 0) > 0);
  const sizes = SIZES.filter(([name]) => state.size === name || (counts?.sizes?.[name] ?? 0) > 0);
  const mostOfSize = Math.max(1, ...SIZES.map(([name]) => counts?.sizes?.[name] ?? 0));
  const isFiltered = state.split || state.has.length || state.without.length || state.flags.length || state.size || state.cell || state.where;
  return html`<aside class="facets" aria-label="filters">
    <div class="facets-head">
      <strong>Filters</strong>
      <button disabled=${!isFiltered} onClick=${() => address.set({ split: '', has: [], without: [], flags: [], size: '', cell: '', where: '', top: 0 })}>Clear</button>
      <button class="close" onClick=${onClose} aria-label="close the filters">Done</button>
    </div>
    ${state.cell ? html`<p class="cell-filter"><${Cell} pack=${pack} cell=${state.cell} /> <button onClick=${() => address.set({ cell: '', top: 0 })} aria-label="any cell">×</button></p>` : null}
    ${pack.splits.length > 1
      ? html`<${Facet} title="Split"><ul>
          ${pack.splits.map(
            (/** @type {any} */ split) =>
              html`<${Line}
                name=${split.name}
                count=${(splits ?? counts?.splits)?.[split.name] ?? split.samples}
                most=${pack.samples}
                pressed=${String(state.split === split.name)}
                onClick=${() => address.set({ split: state.split === split.name ? '' : split.name, top: 0 })}
              />`,
          )}
        </ul><//>`
      : null}
    ${sizes.length
      ? html`<${Facet} title="Object size"><ul>
          ${sizes.map(
            ([name, text, note]) =>
              html`<${Line}
                name=${text}
                note=${note}
                count=${counts?.sizes?.[name] ?? 0}
                most=${mostOfSize}
                pressed=${String(state.size === name)}
                onClick=${() => address.set({ size: state.size === name ? '' : name, top: 0 })}
              />`,
          )}
        </ul><//>`
      : null}
    ${flags.length
      ? html`<${Facet} title="Images with"><ul>
          ${flags.map(
            ([name, text]) =>
              html`<${Line}
                name=${text}
                count=${counts?.[name] ?? 0}
                most=${counts?.images}
                pressed=${String(state.flags.includes(name))}
                onClick=${() => address.set({ flags: state.flags.includes(name) ? state.flags.filter((/** @type {string} */ flag) => flag !== name) : [...state.flags, name], top: 0 })}
              />`,
          )}
        </ul><//>`
      : null}
    ${pack.objects
      ? html`<${Facet} title="Category">
      ${categories.length > 12
        ? html`<input class="filter" type="text" placeholder=${`Filter ${categories.length} categories`} aria-label="filter the categories" value=${filter} onInput=${(/** @type {any} */ event) => setFilter(event.target.value)} />`
        : null}
      <ul>
        ${listed.map(
          ({ category, index, images }) =>
            html`<${Line}
              key=${index}
              name=${without.has(category.name) ? html`<s>${category.name}</s>` : category.name}
              count=${images}
              most=${most}
              color=${category.color}
              pressed=${has.has(category.name) ? 'true' : without.has(category.name) ? 'mixed' : 'false'}
              onClick=${() => cycle(category.name)}
            />`,
        )}
      </ul>
      ${fitting.length > listed.length ? html`<button class="more" onClick=${() => all(true)}>All ${fitting.length} categories</button>` : null}
      ${state.has.length ? html`<p class="quiet">Press again for images without it.</p>` : null}
    <//>`
      : null}
  </aside>`;
}

/** A cell of the confusion matrix in words. @param {any} props */
export function Cell({ pack, cell }) {
  const [truth, prediction] = cell.split(',').map((/** @type {string} */ part) => (part === 'none' ? null : pack.labels.categories[Number(part)]?.name ?? part));
  if (truth === null) return html`<span>false alarms <b>${prediction}</b></span>`;
  if (prediction === null) return html`<span>missed <b>${truth}</b></span>`;
  return truth === prediction ? html`<span><b>${truth}</b> found</span>` : html`<span><b>${truth}</b> taken for <b>${prediction}</b></span>`;
}
