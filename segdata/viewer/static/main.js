// @ts-check
/** The page: opens the pack, follows the address, and shows images, one image, errors or statistics. */

import { Component, html, render, useEffect, useLayoutEffect, useMemo, useRef, useState } from './vendor/preact.js';
import { Facets, Find, QueryBox, shown } from './filters.js';
import { Grid } from './grid.js';
import { KeySheet, listen } from './keys.js';
import { Choice, Slider } from './sample/panel.js';
import { ServerError, enterToken, isAbort, keepToken, onLost, openPack, whenComputed } from './server.js';
import { Address, USUAL, query } from './state.js';

keepToken();
const address = new Address();

const SORTS = [
  ['index', 'in order'],
  ['key', 'by key'],
  ['-objects', 'most objects'],
  ['objects', 'fewest objects'],
  ['-area', 'largest area'],
  ['-size', 'largest image'],
  ['size', 'smallest image'],
];
const BY_CHANGE = [
  ['-change', 'better than other'],
  ['change', 'worse than other'],
];
const BY_ERROR = [
  ['f1', 'lowest F1'],
  ['iou', 'lowest IoU of matches'],
  ['-fn', 'most missed'],
  ['-fp', 'most false alarms'],
  ['pq', 'lowest PQ'],
  ['miou', 'lowest mIoU'],
];
const TILES = [
  ['small', 'S'],
  ['medium', 'M'],
  ['large', 'L'],
];

/** Pages that are loaded when they are first shown, or when nothing else is to do. */
const PAGES = {
  sample: () => import('./sample/page.js').then((module) => module.SamplePage),
  errors: () => import('./errors.js').then((module) => module.ErrorsPage),
  statistics: () => import('./statistics.js').then((module) => module.StatisticsPage),
};

/** @param {any} props page: which of PAGES; what it gets */
function Later({ page, ...props }) {
  const [made, set] = useState(/** @type {any} */ (null));
  useEffect(() => {
    /** @type {any} */ (PAGES)[page]().then((/** @type {any} */ Page) => set({ page, Page }));
  }, [page]);
  return made?.page === page ? html`<${made.Page} ...${props} />` : html`<main aria-busy="true"></main>`;
}

/** What is asked for the order of the images. @param {any} pack @param {any} state */
function ordered(pack, state) {
  const limits = thresholds(pack, state);
  return { where: query(state).where, sort: state.sort === 'index' ? '' : state.sort, cell: state.cell, ...limits };
}

/** @typedef {(done: number, all: number) => void} Progress */

/** @param {any} asked @param {AbortSignal} [signal] @param {Progress} [progress] */
const loadIds = async (asked, signal, progress = () => {}) => new Uint32Array(await (await whenComputed('ids', asked, signal, progress)).arrayBuffer());

/**
 * Counts of the images that are meant; of matches, too, as soon as there are some.
 *
 * @param {any} asked
 * @param {AbortSignal} signal
 * @param {(counts: any) => void} soFar
 */
async function loadFacets(asked, signal, soFar) {
  for (;;) {
    const counts = await (await whenComputed('facets', asked, signal, () => {})).json();
    if (asked.iou === undefined || counts.tp !== null) return counts;
    soFar(counts);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (signal.aborted) throw new DOMException('left', 'AbortError');
  }
}

/** The first order, asked for before anything is drawn. */
const early = { name: '', ids: /** @type {Promise<Uint32Array> | null} */ (null) };

/** Follows the address. */
function useAddress() {
  const [state, set] = useState(address.state);
  useEffect(() => {
    address.listeners.add(set);
    return () => {
      address.listeners.delete(set);
    };
  }, []);
  return state;
}

/** @param {any} pack @param {any} state thresholds for the server; none without predictions */
const thresholds = (pack, state) => (pack.predictions ? { score: hasScores(pack) ? state.score : 0, iou: state.iou } : {});

/** @param {any} pack whether a score is a threshold of anything */
const hasScores = (pack) => Boolean(pack.predictions?.has_scores || pack.other?.has_scores);

/**
 * The answer to a request that follows the state; the old answer stays until the new one is there.
 *
 * @param {string} name what it depends on
 * @param {(signal: AbortSignal, progress: Progress, soFar: (value: any) => void) => Promise<any>} load
 * @param {number} [wait] ms
 */
function useAnswer(name, load, wait = 0) {
  const [answer, set] = useState(/** @type {any} */ ({ value: null, error: null, name: '', progress: null }));
  useEffect(() => {
    const control = new AbortController();
    const timer = setTimeout(() => {
      /** @type {Progress} */
      const progress = (done, all) => set((/** @type {any} */ before) => ({ ...before, progress: [done, all] }));
      load(control.signal, progress, (value) => set({ value, error: null, name, progress: null }))
        .then((value) => set({ value, error: null, name, progress: null }))
        .catch((error) => isAbort(error) || set((/** @type {any} */ before) => ({ value: before.value, error, name, progress: null })));
    }, wait);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [name]);
  return answer;
}

/** Whose masks tiles have. @param {any} pack @param {any} state */
const drawn = (pack, state) => ((state.of === 'predictions' && pack.predictions) || (state.of === 'other' && pack.other) ? state.of : 'truth');

/** The tiles. @param {any} props */
function Tiles({ pack, state, ids, frame, isStale, isMatched }) {
  const root = useRef(/** @type {any} */ (null));
  const latest = useRef(/** @type {any} */ (null));
  useLayoutEffect(() => {
    let timer = 0;
    const grid = new Grid(root.current, {
      pack,
      link: (sample) => address.link({ page: 'sample', sample, object: '', hide: [], zoom: '' }),
      onTop: (top) => {
        clearTimeout(timer);
        timer = setTimeout(() => address.state.page === 'grid' && address.set({ top }), 200);
      },
    });
    frame.grid = grid;
    latest.current = { grid, ids: null };
    return () => {
      clearTimeout(timer);
      frame.grid = null;
      grid.close();
    };
  }, []);
  useLayoutEffect(() => {
    const { grid } = latest.current;
    grid.dress({ size: state.tile, draws: state.tiles, of: drawn(pack, state), off: state.off, thresholds: thresholds(pack, state) });
    if (isMatched && latest.current.isMatched === false) grid.renew();
    latest.current.isMatched = isMatched;
    if (ids && ids !== latest.current.ids) {
      const isFirst = latest.current.ids === null;
      latest.current.ids = ids;
      grid.show(ids, state.top);
      if (isFirst && frame.last >= 0) {
        const position = ids.indexOf(frame.last);
        frame.last = -1;
        if (position >= 0) grid.focus(position);
      }
    }
  });
  return html`<div class=${`tiles ${isStale ? 'stale' : ''}`} ref=${root} tabindex="-1" aria-busy=${isStale}></div>`;
}

/** The page of all images. @param {any} props */
function GridPage({ pack, state, ids, facets, splits, frame, isOpen, onFacets }) {
  const sorts = [...(pack.other ? BY_CHANGE : []), ...(pack.predictions ? BY_ERROR : []), ...SORTS];
  const total = ids.value?.length ?? 0;
  const { shift } = query(state);
  const isStale = ids.name !== frame.name;
  return html`<main class=${`grid-page ${isOpen ? 'with-facets' : ''}`}>
    <${Facets} pack=${pack} state=${state} address=${address} counts=${facets} splits=${splits} onClose=${onFacets} />
    <div class="grid-side">
      <div class="bar">
        <button class="facets-button" aria-expanded=${isOpen} onClick=${onFacets}>Filters</button>
        <${QueryBox} value=${state.where} error=${ids.error?.status === 400 ? ids.error : null} shift=${shift} onQuery=${(/** @type {string} */ where) => address.set({ where, top: 0 })} />
        <span class="total" role="status">${ids.progress ? html`<span>Comparing ${Math.round((100 * ids.progress[0]) / Math.max(1, ids.progress[1]))} % · </span>` : null}${ids.value ? html`<b>${shown(total)}</b> ${total === pack.samples ? (total === 1 ? 'image' : 'images') : `of ${shown(pack.samples)}`}` : ''}</span>
        <div class="strip">
        <label class="sort"><span class="quiet">Sort</span>
          <select value=${state.sort} aria-label="order" onChange=${(/** @type {any} */ event) => address.set({ sort: event.target.value, top: 0 })}>
            ${sorts.map(([name, text]) => html`<option value=${name} selected=${name === state.sort}>${text}</option>`)}
            ${sorts.some(([name]) => name === state.sort) ? null : html`<option value=${state.sort} selected>${state.sort}</option>`}
          </select>
        </label>
        <${Choice} label="size of tiles" options=${TILES} value=${state.tile} onChange=${(/** @type {string} */ tile) => address.set({ tile })} />
        <div class="choice"><button aria-pressed=${state.tiles === 'masks'} title="masks on tiles (o)" onClick=${() => address.set({ tiles: state.tiles === 'masks' ? 'photo' : 'masks' })}>Masks</button></div>
        ${pack.predictions
          ? html`<${Choice}
              label="whose masks"
              options=${[
                ['truth', 'Truth'],
                ['predictions', 'Predictions'],
                ...(pack.other ? [['other', 'Other']] : []),
              ]}
              value=${drawn(pack, state)}
              onChange=${(/** @type {string} */ of) => address.set({ of })}
            />`
          : null}
        ${hasScores(pack) ? html`<${Slider} label="Score ≥" value=${state.score} onInput=${(/** @type {number} */ score) => address.set({ score })} title="predictions below it are not counted" />` : null}
        ${pack.predictions ? html`<${Slider} label="IoU ≥" value=${state.iou} onInput=${(/** @type {number} */ iou) => address.set({ iou })} title="from which IoU an object counts as found" />` : null}
        </div>
      </div>
      ${ids.error && ids.error.status !== 400 ? html`<p class="wrong" role="alert">${ids.error.message} ${ids.error.fix ?? ''}</p>` : null}
      ${ids.value && !total ? html`<p class="empty">No image fits. <button onClick=${() => address.set({ ...USUAL, page: 'grid', tile: state.tile, tiles: state.tiles, score: state.score, iou: state.iou })}>Show all</button></p>` : null}
      <${Tiles} pack=${pack} state=${state} ids=${ids.value} frame=${frame} isStale=${isStale} isMatched=${facets ? facets.tp !== null : undefined} />
    </div>
  </main>`;
}

/** @param {any} props */
function Head({ pack, state }) {
  const pages = [
    ['grid', 'Images'],
    ...(pack.predictions ? [['errors', 'Errors']] : []),
    ['statistics', 'Statistics'],
  ];
  const current = state.page === 'sample' ? 'grid' : state.page;
  return html`<header class="head">
    <a class="brand" href=${address.link({ page: 'grid' })} aria-label="segdata, all images"><img src="/static/icon.svg" alt="" width="22" height="22" /></a>
    <span class="pack-name" title=${`${shown(pack.samples)} images, ${shown(pack.objects)} objects`}><bdi>${pack.name}</bdi>${pack.predictions ? html` <span class="quiet">·</span> <bdi class="quiet">${pack.predictions.name}</bdi>` : null}${pack.other ? html` <span class="quiet">·</span> <bdi class="quiet">${pack.other.name}</bdi>` : null}</span>
    <nav aria-label="pages">${pages.map(([name, text]) => html`<a href=${address.link({ page: name })} aria-current=${name === current ? 'page' : null}>${text}</a>`)}</nav>
    <${Find} address=${address} />
  </header>`;
}

/** @param {any} props */
function App({ pack }) {
  const state = useAddress();
  const [isSheet, setSheet] = useState(false);
  const [isOpen, setOpen] = useState(() => matchMedia('(min-width: 800px)').matches);
  const frame = useRef(/** @type {any} */ ({ grid: null, last: -1 })).current;
  const limits = thresholds(pack, state);
  const { where } = query(state);
  const asked = ordered(pack, state);
  const name = JSON.stringify(asked);
  frame.name = name;
  const ids = useAnswer(name, (signal, progress) => (early.ids && early.name === name ? early.ids : loadIds(asked, signal, progress)));
  const { cell } = state;
  const facets = useAnswer(JSON.stringify([where, cell, limits]), (signal, _, soFar) => loadFacets({ where, cell, ...limits }, signal, soFar), 30);
  const whole = query(state, { split: false }).where;
  const splits = useAnswer(state.split ? JSON.stringify([whole, cell, limits]) : '', async (signal, _, soFar) => (state.split ? loadFacets({ where: whole, cell, ...limits }, signal, soFar) : null), 30);
  const position = useMemo(() => (ids.value ? ids.value.indexOf(state.sample) : -1), [ids.value, state.sample]);

  const app = useRef(/** @type {any} */ ({})).current;
  Object.assign(app, {
    pack,
    address,
    frame,
    /** @param {string} id */
    focus(id) {
      if (id === 'query' && address.state.page !== 'grid') address.set({ page: 'grid' });
      requestAnimationFrame(() => document.getElementById(id)?.focus());
      return true;
    },
    toggleSheet() {
      setSheet((shown) => !shown);
      return true;
    },
    toggleFacets: () => setOpen((open) => !open),
    go: {
      /** @param {number} by */
      step(by) {
        const next = ids.value?.[position + by];
        if (position >= 0 && next !== undefined) address.set({ sample: next, object: '', hide: [], zoom: '' });
      },
      back: () => address.state.page !== 'grid' && address.set({ page: 'grid', object: '', hide: [], zoom: '' }),
      around: () => [1, -1].flatMap((by) => (position >= 0 && ids.value?.[position + by] !== undefined ? [ids.value[position + by]] : [])),
      /** @param {number} by */
      object(by) {
        const order = frame.objects?.() ?? [];
        const at = order.indexOf(address.state.object);
        const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length;
        if (order.length) address.set({ object: order[next] });
      },
    },
  });
  useEffect(() => listen(app), []);
  if (state.page === 'sample' && state.sample >= 0) frame.last = state.sample;
  useEffect(() => {
    document.title = `${pack.name} · segdata`;
  }, []);

  let page;
  if (state.page === 'sample' && state.sample >= 0) {
    page = html`<${Later} page="sample" pack=${pack} state=${state} address=${address} position=${position} total=${ids.value?.length ?? 0} go=${app.go} frame=${frame} />`;
  } else if (state.page === 'errors' && pack.predictions) page = html`<${Later} page="errors" pack=${pack} state=${state} address=${address} limits=${limits} where=${where} />`;
  else if (state.page === 'statistics') page = html`<${Later} page="statistics" pack=${pack} />`;
  else page = html`<${GridPage} pack=${pack} state=${state} ids=${ids} facets=${facets.value} splits=${splits.value?.splits} frame=${frame} isOpen=${isOpen} onFacets=${app.toggleFacets} />`;
  return html`<${Head} pack=${pack} state=${state} />${page}${isSheet ? html`<${KeySheet} onClose=${() => setSheet(false)} />` : null}`;
}

/** Before the pack is there: what is missing. @param {any} props */
function Gate({ error }) {
  const input = useRef(/** @type {any} */ (null));
  if (error.status === 401) {
    return html`<main class="gate">
      <h1>This page needs its token</h1>
      <p>Open the address that <code>segdata view</code> printed, or paste it here. What this page shows stays.</p>
      <form onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), enterToken(input.current.value), location.reload())}>
        <input ref=${input} type="text" aria-label="address or token" placeholder="http://127.0.0.1:…/#token=…" autocomplete="off" />
        <button>Open</button>
      </form>
    </main>`;
  }
  return html`<main class="gate" role="alert">
    <h1>${error.status === 410 ? 'The pack was changed' : error.message}</h1>
    <p>${error.status === 410 ? error.message : error.why ?? ''}</p>
    <p class="quiet">${error.fix ?? ''}</p>
    <button onClick=${() => location.reload()}>Load again</button>
  </main>`;
}

/** Shows mistakes of the page itself, instead of nothing. */
class Guard extends Component {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { error: null };
  }

  /** @param {unknown} error */
  componentDidCatch(error) {
    /** @type {any} */ (this).setState({ error });
  }

  render() {
    const { error } = /** @type {any} */ (this).state;
    return error ? html`<${Gate} error=${error} />` : /** @type {any} */ (this).props.children;
  }
}

async function start() {
  const root = /** @type {HTMLElement} */ (document.getElementById('app'));
  root.replaceChildren();
  /** @param {any} error */
  const close = (error) => render(html`<${Gate} key="gate" error=${error} />`, root);
  onLost(close);
  try {
    const pack = await openPack();
    if (!location.hash.replace('#', '')) {
      const { split, where, sort } = pack.started ?? {};
      address.set({ split: split ?? '', where: where ?? '', sort: sort ?? 'index' });
    }
    const asked = ordered(pack, address.state);
    early.name = JSON.stringify(asked);
    if (!pack.predictions) early.ids = loadIds(asked);
    early.ids?.catch(() => {}).finally(() => setTimeout(() => (early.ids = null), 1000));
    const isFirst = address.state.page === 'grid';
    setTimeout(() => Object.values(PAGES).forEach((load) => load()), isFirst ? 2000 : 0);
    render(html`<${Guard}><${App} pack=${pack} /><//>`, root);
  } catch (error) {
    close(error instanceof ServerError ? error : { message: String(error) });
  }
}

start();
