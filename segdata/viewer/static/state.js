// @ts-check
/**
 * What is shown, as the address says it: `#where=any(category == 'dog')&sort=-fn&sample=12`.
 *
 * All state of the page lives in the fragment, so that back, reload and a copied link give the same view. A key that has
 * its usual value is left out. Lists are joined by commas, each entry encoded by itself, so a name may hold anything.
 */

/**
 * @typedef {object} State
 * @property {string} page grid, sample, errors or statistics
 * @property {string} where a query
 * @property {string} sort
 * @property {string} split '' for all
 * @property {string[]} has names of categories that the images must have
 * @property {string[]} without names of categories that they must not have
 * @property {string[]} flags crowd, difficult, …
 * @property {string} size '', small, medium or large
 * @property {string} cell of the confusion matrix: 'T,P'
 * @property {number} score threshold of predictions
 * @property {number} iou threshold of a match
 * @property {number} top first row of the grid
 * @property {string} tile size of tiles: small, medium or large
 * @property {string} tiles '' or masks: what is drawn on them
 * @property {number} sample its number in the pack, −1 for none
 * @property {string} of truth, predictions, other, both or swipe
 * @property {string} color category, object or match
 * @property {number} fill opacity of masks
 * @property {number} divider of the swipe, 0 … 1
 * @property {string[]} off names of categories not drawn
 * @property {string[]} hide objects not drawn: t3, p7
 * @property {string} object selected: t3, p7 or ''
 * @property {string[]} layers what is drawn: photo, masks, outline, map, boxes, numbers
 * @property {string} zoom '' to fit, else scale,x,y of the middle
 * @property {string} by order of the worst images
 * @property {string} tool of correction
 */

/** @type {State} */
export const USUAL = {
  page: 'grid',
  where: '',
  sort: 'index',
  split: '',
  has: [],
  without: [],
  flags: [],
  size: '',
  cell: '',
  score: 0.5,
  iou: 0.5,
  top: 0,
  tile: 'medium',
  tiles: 'masks',
  sample: -1,
  of: 'truth',
  color: 'category',
  fill: 0.45,
  divider: 0.5,
  off: [],
  hide: [],
  object: '',
  layers: ['photo', 'masks', 'outline', 'numbers'],
  zoom: '',
  by: '',
  tool: '',
};

/** Keys whose change is a step that "back" undoes; the others only replace the address. */
const STEPS = new Set(['page', 'where', 'sort', 'split', 'has', 'without', 'flags', 'size', 'cell', 'sample', 'of', 'by']);

/** @param {string} text */
const escaped = (text) => encodeURIComponent(text).replace(/%20/g, '+').replace(/%(3D|2F|3A|5B|5D)/g, decodeURIComponent);

/** @param {string} text */
function plain(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch {
    return '';
  }
}

/**
 * @param {State} state
 * @returns {string} the fragment without '#'
 */
export function written(state) {
  const parts = [];
  for (const [key, usual] of Object.entries(USUAL)) {
    const value = /** @type {any} */ (state)[key];
    if (Array.isArray(value)) {
      if (value.join('\n') !== /** @type {string[]} */ (usual).join('\n')) parts.push(`${key}=${value.map(escaped).join(',')}`);
    } else if (value !== usual) parts.push(`${key}=${escaped(String(value))}`);
  }
  return parts.join('&');
}

/**
 * @param {string} fragment with or without '#'
 * @returns {State}
 */
export function read(fragment) {
  const state = /** @type {any} */ (structuredClone(USUAL));
  for (const part of fragment.replace(/^#/, '').split('&')) {
    const cut = part.indexOf('=');
    const key = part.slice(0, cut);
    if (cut < 0 || !Object.hasOwn(USUAL, key)) continue;
    const text = part.slice(cut + 1);
    const usual = /** @type {any} */ (USUAL)[key];
    if (Array.isArray(usual)) state[key] = text === '' ? [] : text.split(',').map(plain);
    else if (typeof usual === 'number') state[key] = Number.isFinite(Number(text)) ? Number(text) : usual;
    else state[key] = plain(text);
  }
  return state;
}

/** The state of this page, and who wants to know when it changes. */
export class Address {
  constructor() {
    this.state = read(location.hash);
    /** @type {Set<(state: State) => void>} */
    this.listeners = new Set();
    addEventListener('popstate', () => {
      this.state = read(location.hash);
      this.tell();
    });
  }

  tell() {
    for (const listener of this.listeners) listener(this.state);
  }

  /** @param {Partial<State>} change */
  set(change) {
    const before = this.state;
    this.state = { ...before, ...change };
    const url = `${location.pathname}#${written(this.state)}`;
    if (url === `${location.pathname}${location.hash}`) return;
    const isStep = Object.keys(change).some(
      (key) => STEPS.has(key) && String(/** @type {any} */ (before)[key]) !== String(/** @type {any} */ (this.state)[key]),
    );
    if (isStep) history.pushState(null, '', url);
    else history.replaceState(null, '', url);
    this.tell();
  }

  /** The address of this view with a change, for a link. @param {Partial<State>} change */
  link(change) {
    return `#${written({ ...this.state, ...change })}`;
  }
}

/**
 * A text as the query language quotes it.
 *
 * @param {string} text
 */
const quoted = (text) => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;

const FLAGS = /** @type {Record<string, string>} */ ({
  crowds: 'any(iscrowd)',
  difficult: 'any(difficult)',
  box_only: 'any(not has_mask)',
  has_semantic: 'has_semantic',
  problems: 'problem',
  tp: 'tp > 0',
  fp: 'fp > 0',
  fn: 'fn > 0',
});

const SIZES = /** @type {Record<string, string>} */ ({
  small: 'any(area < 32**2)',
  medium: 'any(area >= 32**2 and area < 96**2)',
  large: 'any(area >= 96**2)',
  of_unknown_size: 'any(area == none)',
});

/**
 * The query that the text and the facets mean together.
 *
 * @param {State} state
 * @param {{split?: boolean}} [keep] split: false leaves the split out
 * @returns {{where: string, shift: number}} shift: columns before the text of the user
 */
export function query(state, keep = {}) {
  const parts = [];
  const text = state.where.trim();
  if (state.split && keep.split !== false) parts.push(`split == ${quoted(state.split)}`);
  for (const name of state.has) parts.push(`any(category == ${quoted(name)})`);
  for (const name of state.without) parts.push(`not any(category == ${quoted(name)})`);
  for (const flag of state.flags) if (FLAGS[flag]) parts.push(FLAGS[flag]);
  if (SIZES[state.size]) parts.push(SIZES[state.size]);
  if (!text) return { where: parts.join(' and '), shift: 0 };
  if (!parts.length) return { where: text, shift: 0 };
  return { where: `(${text}) and ${parts.join(' and ')}`, shift: 1 };
}
