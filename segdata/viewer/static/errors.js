// @ts-check
/** Where predictions go wrong: the confusion matrix, whose cells filter the images, and the worst images. */

import { html, useEffect, useMemo, useRef, useState } from './vendor/preact.js';
import { Cell, shown } from './filters.js';
import { ask, isAbort, json, whenComputed } from './server.js';
import { Choice, Slider } from './sample/panel.js';

const MEASURES = [
  ['f1', 'F1'],
  ['iou', 'IoU of matches'],
  ['pq', 'PQ'],
  ['miou', 'mIoU'],
];
const MOST = 40; // categories of a matrix that is drawn; the most frequent

/** What is computed on the server, with its progress. @param {string} path @param {any} parameters */
export function useComputed(path, parameters) {
  const [answer, set] = useState(/** @type {any} */ ({ value: null, error: null, progress: [0, 0] }));
  useEffect(() => {
    const control = new AbortController();
    const timer = setTimeout(() => {
      whenComputed(path, parameters, control.signal, (done, all) => set((/** @type {any} */ before) => ({ ...before, progress: [done, all] })))
        .then((answer) => answer.json())
        .then((value) => set({ value, error: null, progress: null }))
        .catch((error) => isAbort(error) || set({ value: null, error, progress: null }));
    }, 60);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [path, JSON.stringify(parameters)]);
  return answer;
}

/** @param {any} props */
export function Waiting({ answer }) {
  if (answer.error) return html`<p class="wrong" role="alert">${answer.error.message} ${answer.error.why ?? ''} <span class="quiet">${answer.error.fix ?? ''}</span></p>`;
  const [done, all] = answer.progress ?? [0, 0];
  return html`<p class="quiet" role="status">Counting${all ? ` · ${shown(done)} of ${shown(all)}` : ' …'}</p>${all ? html`<progress value=${done} max=${all}></progress>` : null}`;
}

/** A small picture that is fetched with the token. @param {any} props */
export function Thumb({ sample, side = 160 }) {
  const [url, set] = useState('');
  useEffect(() => {
    const control = new AbortController();
    let made = '';
    ask(`thumb/${sample}`, { side }, { signal: control.signal })
      .then((answer) => answer.blob())
      .then((blob) => set((made = URL.createObjectURL(blob))))
      .catch(() => {});
    return () => {
      control.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [sample]);
  return html`<span class="picture">${url ? html`<img class="thumb there" src=${url} alt="" />` : null}</span>`;
}

/** @param {any} props */
function Matrix({ pack, answer, address, state }) {
  const { labels, matrix, kind } = answer;
  const name = (/** @type {any} */ index) => (typeof index === 'number' ? pack.labels.categories[index]?.name ?? String(index) : 'none');
  const listed = useMemo(() => {
    const totals = labels.map((/** @type {any} */ _, /** @type {number} */ row) => matrix[row].reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0) + matrix.reduce((/** @type {number} */ a, /** @type {number[]} */ line) => a + line[row], 0));
    const rows = labels.map((/** @type {any} */ _, /** @type {number} */ row) => row).filter((/** @type {number} */ row) => totals[row] > 0);
    rows.sort((/** @type {number} */ a, /** @type {number} */ b) => totals[b] - totals[a]);
    return rows.slice(0, MOST);
  }, [answer]);
  const none = matrix.length > labels.length ? labels.length : -1;
  const order = none < 0 ? listed : [none, ...listed];
  const title = (/** @type {number} */ row, /** @type {boolean} */ isTruth) => (row === none ? (isTruth ? 'not there' : 'missed') : name(labels[row]));
  const code = (/** @type {number} */ row) => (row === none ? 'none' : labels[row]);
  const sums = order.map((/** @type {number} */ row) => matrix[row].reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0));
  if (!order.length || (order.length === 1 && none >= 0)) return html`<p class="quiet">Nothing to compare: no object is counted.</p>`;
  return html`<div class="matrix-box">
    <table class="matrix">
      <caption>Rows: truth. Columns: prediction. ${kind === 'pixels' ? 'Counted in pixels.' : 'Press a cell for its images.'}</caption>
      <thead><tr><td></td>${order.map((/** @type {number} */ column) => html`<th scope="col"><span>${title(column, false)}</span></th>`)}</tr></thead>
      <tbody>
        ${order.map(
          (/** @type {number} */ row, /** @type {number} */ line) =>
            html`<tr>
              <th scope="row">${title(row, true)}</th>
              ${order.map((/** @type {number} */ column) => {
                const count = matrix[row][column];
                const share = sums[line] ? count / sums[line] : 0;
                const isRight = row === column;
                const cell = `${code(row)},${code(column)}`;
                const words = `${title(row, true)}, predicted ${title(column, false)}: ${shown(count)}`;
                const style = count ? { '--share': `${Math.round(12 + 80 * share)}%` } : {};
                return html`<td class=${`${isRight ? 'right' : 'wrong-cell'} ${count ? '' : 'zero'}`} style=${style}>
                  ${count
                    ? html`<a href=${address.link({ page: 'grid', cell, top: 0, sort: 'index' })} aria-label=${words} title=${`${words} (${Math.round(share * 100)} %)`} aria-current=${state.cell === cell ? 'true' : null}>${short(count)}</a>`
                    : html`<span title=${words}></span>`}
                </td>`;
              })}
            </tr>`,
        )}
      </tbody>
    </table>
    ${labels.length > listed.length ? html`<p class="quiet">${listed.length} of ${labels.length} categories: the most frequent that occur.</p>` : null}
  </div>`;
}

/** @param {number} count */
function short(count) {
  if (count < 10_000) return String(count);
  return count < 1e6 ? `${Math.round(count / 1e3)}k` : `${(count / 1e6).toFixed(1)}M`;
}

/** The pairs that are mistaken most often. @param {any} props */
function Pairs({ pack, answer, address }) {
  const { labels, matrix } = answer;
  /** @type {[number, number, number][]} */
  const pairs = [];
  for (let row = 0; row < matrix.length; row++) {
    for (let column = 0; column < matrix.length; column++) if (row !== column && matrix[row][column]) pairs.push([matrix[row][column], row, column]);
  }
  pairs.sort((a, b) => b[0] - a[0]);
  const code = (/** @type {number} */ row) => (row === labels.length ? 'none' : labels[row]);
  if (!pairs.length) return html`<p class="quiet">No mistake at these thresholds.</p>`;
  return html`<ol class="pairs">
    ${pairs.slice(0, 15).map(([count, row, column]) => {
      const cell = `${code(row)},${code(column)}`;
      return html`<li><a href=${address.link({ page: 'grid', cell, top: 0 })}><${Cell} pack=${pack} cell=${cell} /><span class="figure">${shown(count)}</span><span class="bar" style=${{ transform: `scaleX(${count / pairs[0][0]})` }}></span></a></li>`;
    })}
  </ol>`;
}

/** @param {any} props */
function Worst({ pack, state, address, limits }) {
  const kinds = pack.predictions.kind === 'pixels' || (!pack.predictions.objects && pack.predictions.has_semantic) ? [['miou', 'mIoU']] : MEASURES.filter(([name]) => name !== 'miou' || pack.predictions.has_semantic);
  const by = kinds.some(([name]) => name === state.by) ? state.by : kinds[0][0];
  const answer = useComputed('worst', { by, n: 24, ...limits });
  const [tiles, setTiles] = useState(/** @type {Map<number, any>} */ (new Map()));
  const list = answer.value;
  useEffect(() => {
    if (!list?.length) return undefined;
    const control = new AbortController();
    json('tiles', { ids: list.map((/** @type {any} */ item) => item.i).join(','), ...limits }, { signal: control.signal })
      .then((facts) => setTiles(new Map(facts.map((/** @type {any} */ fact) => [fact.i, fact]))))
      .catch(() => {});
    return () => control.abort();
  }, [list]);
  return html`<section>
    <div class="section-head"><h2>Worst images</h2><${Choice} label="worst by" options=${kinds} value=${by} onChange=${(/** @type {string} */ by) => address.set({ by })} /></div>
    ${list && !list.length ? html`<p class="quiet">No image has a value of this.</p>` : null}
    ${list
      ? html`<ol class="worst">
          ${list.map((/** @type {any} */ item) => {
            const fact = tiles.get(item.i);
            return html`<li key=${item.i}>
              <a class="tile-link" href=${address.link({ page: 'sample', sample: item.i, of: 'both', color: 'match', object: '', hide: [], zoom: '' })}>
                <${Thumb} sample=${item.i} />
                <span class="caption"><span class="key">${item.key}</span><span class="numbers"><b>${item.value === null ? '–' : item.value.toFixed(2)}</b>${fact && fact.tp !== null && fact.tp !== undefined ? ` ✓ ${fact.tp}  + ${fact.fp}  − ${fact.fn}` : ''}</span></span>
              </a>
            </li>`;
          })}
        </ol>`
      : html`<${Waiting} answer=${answer} />`}
  </section>`;
}

const RATIOS = [
  ['f1', 'F1'],
  ['precision', 'Precision'],
  ['recall', 'Recall'],
];
const COUNTS = [
  ['tp', 'Found (TP)'],
  ['fp', 'False alarms (FP)'],
  ['fn', 'Missed (FN)'],
];

/** A difference with its sign. @param {number} value @param {number} [digits] */
function signed(value, digits = 0) {
  const text = digits ? Math.abs(value).toFixed(digits) : shown(Math.abs(value));
  return `${value > 0 ? '+' : value < 0 ? '−' : '±'}${text}`;
}

/** Predictions beside the other ones. @param {any} props */
function Change({ pack, state, address, limits, where }) {
  const answer = useComputed('compared', { where, ...limits });
  const { value } = answer;
  if (!value) return html`<section class="change"><h2>Predictions and other</h2><${Waiting} answer=${answer} /></section>`;
  const [mine, other] = value.totals;
  /** @param {string} sign */
  const query = (sign) => `${state.where.trim() ? `(${state.where.trim()}) and ` : ''}${value.by} ${sign} other_${value.by}`;
  const links = [
    ['better', '▲ better', query('>'), '-change'],
    ['worse', '▼ worse', query('<'), 'change'],
    ['equal', '= equal', query('=='), 'index'],
  ];
  const changed = value.categories
    .map((/** @type {number[]} */ [tp, fp, fn, otherTp, otherFp, otherFn], /** @type {number} */ index) => ({ index, by: [tp - otherTp, fp - otherFp, fn - otherFn] }))
    .filter((/** @type {any} */ row) => row.by.some(Boolean));
  const size = (/** @type {any} */ row) => row.by.reduce((/** @type {number} */ sum, /** @type {number} */ by) => sum + Math.abs(by), 0);
  changed.sort((/** @type {any} */ a, /** @type {any} */ b) => size(b) - size(a));
  const ratio = (/** @type {number | null} */ number) => (number === null ? '–' : number.toFixed(3));
  return html`<section class="change">
    <h2>Predictions and other</h2>
    <p>
      ${links.map(([name, text, where, sort]) => html`<a class="button" data-change=${name} href=${address.link({ page: 'grid', where, sort, cell: '', top: 0 })}>${text}: ${shown(value.images[name])}</a> `)}
      ${value.images.none ? html`<span class="quiet">${shown(value.images.none)} without a value of both</span>` : null}
    </p>
    <table class="figures totals">
      <thead><tr><td></td><th scope="col">Predictions</th><th scope="col">Other</th><th scope="col">Change</th></tr></thead>
      <tbody>
        ${RATIOS.map(([name, text]) => html`<tr><th scope="row">${text}</th><td>${ratio(mine[name])}</td><td>${ratio(other[name])}</td><td>${mine[name] === null || other[name] === null ? '–' : signed(mine[name] - other[name], 3)}</td></tr>`)}
        ${COUNTS.map(([name, text]) => html`<tr><th scope="row">${text}</th><td>${shown(mine[name])}</td><td>${shown(other[name])}</td><td>${signed(mine[name] - other[name])}</td></tr>`)}
      </tbody>
    </table>
    ${changed.length
      ? html`<table class="figures categories">
          <thead><tr><th scope="col">Category</th>${COUNTS.map(([, text]) => html`<th scope="col">${text}</th>`)}</tr></thead>
          <tbody>${changed.slice(0, 15).map((/** @type {any} */ row) => html`<tr><th scope="row">${pack.labels.categories[row.index].name}</th>${row.by.map((/** @type {number} */ by) => html`<td>${signed(by)}</td>`)}</tr>`)}</tbody>
        </table>`
      : html`<p class="quiet">No category is counted differently.</p>`}
  </section>`;
}

/** @param {any} props */
export function ErrorsPage({ pack, state, address, limits, where }) {
  const answer = useComputed('confusion', { where, ...limits });
  const last = useRef(/** @type {any} */ (null));
  if (answer.value) last.current = answer.value;
  const value = last.current;
  return html`<main class="report">
    <div class="bar">
      ${pack.predictions.has_scores || pack.other?.has_scores ? html`<${Slider} label="Score ≥" value=${state.score} onInput=${(/** @type {number} */ score) => address.set({ score })} title="predictions below it are not counted" />` : null}
      <${Slider} label="IoU ≥" value=${state.iou} onInput=${(/** @type {number} */ iou) => address.set({ iou })} title="from which IoU an object counts as found" />
      ${where ? html`<span class="quiet">of the images that fit <code>${where}</code></span>` : null}
    </div>
    ${pack.other ? html`<${Change} pack=${pack} state=${state} address=${address} limits=${limits} where=${where} />` : null}
    <div class="report-columns">
      <section><h2>Confusion matrix</h2>${value ? html`<${Matrix} pack=${pack} answer=${value} address=${address} state=${state} />` : html`<${Waiting} answer=${answer} />`}</section>
      <section><h2>Most frequent mistakes</h2>${value ? html`<${Pairs} pack=${pack} answer=${value} address=${address} />` : null}</section>
    </div>
    <${Worst} pack=${pack} state=${state} address=${address} limits=${limits} />
  </main>`;
}

