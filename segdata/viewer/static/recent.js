// @ts-check
/** Keeps the newest entries, and lets go of the oldest. @template V */
export class Recent {
  /** @param {number} most @param {(value: V) => void} [drop] */
  constructor(most, drop = () => {}) {
    this.most = most;
    this.drop = drop;
    /** @type {Map<number, V>} */
    this.map = new Map();
  }

  /** @param {number} key */
  get(key) {
    const value = this.map.get(key);
    if (value === undefined) return undefined;
    this.map.delete(key);
    this.map.set(key, value);
    return value;
  }

  /** @param {number} key @param {V} value */
  set(key, value) {
    this.map.set(key, value);
    if (this.map.size <= this.most) return;
    const [[oldest, dropped]] = this.map;
    this.map.delete(oldest);
    this.drop(dropped);
  }

  clear() {
    for (const value of this.map.values()) this.drop(value);
    this.map.clear();
  }
}
