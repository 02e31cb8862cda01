// @ts-check
/** Talks to the server: token, version, errors; and a queue that loads what is in the middle of the screen first. */

const KEY = 'segdata-token';

/** What the server said went wrong, as its document has it. */
export class ServerError extends Error {
  /**
   * @param {number} status
   * @param {{message?: string, why?: string, fix?: string, place?: string, columns?: [number, number]}} error
   */
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    this.status = status;
    this.why = error.why;
    this.fix = error.fix;
    this.place = error.place;
    this.columns = error.columns;
    /** @type {any} the whole answer */
    this.document = null;
  }
}

/** Takes the token out of the address and keeps it for this origin. */
export function keepToken() {
  const token = /(?:^#|&)token=([^&]*)/.exec(location.hash);
  if (!token) return;
  localStorage.setItem(KEY, decodeURIComponent(token[1]));
  const rest = location.hash.replace(/(^#|&)token=[^&]*&?/, '$1').replace(/&$/, '');
  history.replaceState(null, '', location.pathname + (rest === '#' ? '' : rest));
}

/** @param {string} text a token, or an address that holds one */
export function enterToken(text) {
  const token = /token=([^&\s]*)/.exec(text);
  localStorage.setItem(KEY, (token ? token[1] : text).trim());
}

let version = '';
/** @type {(error: ServerError) => void} */
let lost = () => {};

/** @param {(error: ServerError) => void} listener called when the token is wrong or the pack was replaced */
export function onLost(listener) {
  lost = listener;
}

/** @typedef {Record<string, string | number | undefined>} Parameters */

/**
 * @param {string} path below /api/
 * @param {Parameters} [parameters]
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} answered with 2xx
 */
export async function ask(path, parameters = {}, options = {}) {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) if (value !== undefined && value !== '') search.set(key, String(value));
  if (version) search.set('v', version);
  const url = `/api/${path}${search.size ? `?${search}` : ''}`;
  const headers = new Headers(options.headers);
  headers.set('X-Segdata-Token', localStorage.getItem(KEY) ?? '');
  let answer;
  try {
    answer = await fetch(url, { ...options, headers, credentials: 'omit' });
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    throw new ServerError(0, { message: 'the server does not answer', fix: 'start segdata view again and open the address it prints' });
  }
  if (answer.ok) return answer;
  let document = /** @type {any} */ ({});
  try {
    document = await answer.json();
  } catch {
    document = {};
  }
  const error = new ServerError(answer.status, document.error ?? {});
  error.document = document;
  if (answer.status === 401 || answer.status === 410) lost(error);
  throw error;
}

/**
 * @param {string} path
 * @param {Parameters} [parameters]
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
export async function json(path, parameters, options) {
  return (await ask(path, parameters, options)).json();
}

/**
 * Asks until what takes long is computed.
 *
 * @param {string} path
 * @param {Parameters} parameters
 * @param {AbortSignal | undefined} signal
 * @param {(done: number, all: number) => void} progress
 * @returns {Promise<Response>}
 */
export async function whenComputed(path, parameters, signal, progress) {
  for (let wait = 100; ; wait = Math.min(1000, wait * 1.5)) {
    const answer = await ask(path, parameters, { signal });
    if (answer.status !== 202) return answer;
    const [done, all] = (await answer.json()).progress ?? [0, 0];
    progress(done, all);
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (signal?.aborted) throw new DOMException('left', 'AbortError');
  }
}

/**
 * Sends a document.
 *
 * @param {string} path
 * @param {object} document
 * @param {RequestInit} [options]
 */
export function post(path, document, options = {}) {
  return ask(path, {}, { ...options, method: 'POST', body: JSON.stringify(document), headers: { 'Content-Type': 'application/json' } });
}

/** Opens the pack: its description, and the version that all later requests name. */
export async function openPack() {
  version = '';
  const pack = await json('pack');
  version = pack.version;
  return pack;
}

/** @param {unknown} error */
export const isAbort = (error) => error instanceof Error && error.name === 'AbortError';

/**
 * Runs jobs, few at a time, the most urgent first; a job that is not wanted any more is aborted.
 */
export class Queue {
  /** @param {number} [most] at a time */
  constructor(most = 6) {
    this.most = most;
    /** @type {Map<string | number, {run: (signal: AbortSignal) => Promise<void>, urgency: number}>} */
    this.waiting = new Map();
    /** @type {Map<string | number, AbortController>} */
    this.running = new Map();
  }

  /**
   * Replaces everything that waits; what runs and is not among the jobs is aborted.
   *
   * @param {{name: string | number, urgency: number, run: (signal: AbortSignal) => Promise<void>}[]} jobs smaller urgency first
   */
  want(jobs) {
    const names = new Set(jobs.map((job) => job.name));
    for (const [name, controller] of this.running) if (!names.has(name)) controller.abort();
    this.waiting = new Map(jobs.filter((job) => !this.running.has(job.name)).map((job) => [job.name, job]));
    this.next();
  }

  next() {
    while (this.running.size < this.most && this.waiting.size) {
      let best = null;
      for (const [name, job] of this.waiting) if (!best || job.urgency < best.job.urgency) best = { name, job };
      if (!best) return;
      const { name, job } = best;
      const controller = new AbortController();
      this.waiting.delete(name);
      this.running.set(name, controller);
      job
        .run(controller.signal)
        .catch(() => {})
        .finally(() => {
          if (this.running.get(name) === controller) this.running.delete(name);
          this.next();
        });
    }
  }
}
