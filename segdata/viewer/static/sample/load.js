// @ts-check
/** Fetches what belongs to one image; keeps a few images, so that the next one is there at once. */

import { ask, json } from '../server.js';
import { decode } from './runs.js';

const KEPT = 5;

/** @typedef {{facts: Promise<any>, photo: Promise<ImageBitmap | null>, truth: Promise<any>, predictions: Promise<any>, other: Promise<any>, control: AbortController}} Parts */

export class Sheet {
  constructor() {
    /** @type {Map<number, Parts>} */
    this.parts = new Map();
  }

  /** @param {number} sample @param {any} pack @returns {Parts} */
  open(sample, pack) {
    const there = this.parts.get(sample);
    if (there) {
      this.parts.delete(sample);
      this.parts.set(sample, there);
      return there;
    }
    const control = new AbortController();
    const { signal } = control;
    /** @param {string} of */
    const masks = async (of) => decode(await (await ask(`masks/${sample}`, { of }, { signal })).arrayBuffer());
    const photo = async () => {
      const answer = await ask(`image/${sample}`, {}, { signal });
      return createImageBitmap(await answer.blob(), { colorSpaceConversion: 'none', imageOrientation: 'none' });
    };
    const parts = {
      control,
      facts: json(`sample/${sample}`, {}, { signal }),
      photo: pack.has_images ? photo() : Promise.resolve(null),
      truth: masks('truth'),
      predictions: pack.predictions ? masks('predictions') : Promise.resolve(null),
      other: pack.other ? masks('other') : Promise.resolve(null),
    };
    this.parts.set(sample, parts);
    for (const part of [parts.facts, parts.photo, parts.truth, parts.predictions, parts.other]) {
      part.catch(() => this.parts.get(sample) === parts && this.parts.delete(sample));
    }
    while (this.parts.size > KEPT) {
      const [[oldest, old]] = this.parts;
      this.parts.delete(oldest);
      old.control.abort();
    }
    return parts;
  }

  /** @param {number} sample forgotten, because its objects changed */
  forget(sample) {
    this.parts.delete(sample);
  }

  /** @param {number[]} samples @param {any} pack */
  prefetch(samples, pack) {
    for (const sample of samples) this.open(sample, pack);
  }

  /** @param {number} sample @param {import('../server.js').Parameters} thresholds @param {AbortSignal} signal */
  matches(sample, thresholds, signal) {
    return json(`matches/${sample}`, thresholds, { signal });
  }

  /** @param {number} sample @param {'t' | 'p' | 'o'} side @param {AbortSignal} signal */
  async map(sample, side, signal) {
    const answer = await ask(`semantic/${sample}`, { of: { t: 'truth', p: 'predictions', o: 'other' }[side] }, { signal });
    const [height, width, itemsize] = (answer.headers.get('X-Segdata-Size') ?? '').split(',').map(Number);
    const buffer = await answer.arrayBuffer();
    return { height, width, values: itemsize === 2 ? new Uint16Array(buffer) : new Uint8Array(buffer) };
  }
}
