// @ts-check
/** One image: photo and masks on one plane or two, what is under the pointer, and the list of objects. */

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../vendor/preact.js';
import { isAbort } from '../server.js';
import { EditPanel } from './edit.js';
import { Editor } from './editor.js';
import { Sheet } from './load.js';
import { MapList, ObjectList, areaOf, categoriesOf, colorsOf, fate, flagNames } from './objects.js';
import { LabelMap, MATCH, Overlay, css } from './overlay.js';
import { Plane } from './plane.js';
import { isMapAlone } from './runs.js';
import { Facts, Legend, Tools, Zoom } from './panel.js';

const sheet = new Sheet();

/** @typedef {'t' | 'p' | 'o'} Side truth, predictions, other predictions */

const NAMES = { t: 'Truth', p: 'Predictions', o: 'Other' };

/** @type {Record<string, Side[]>} */
const ALONE = { truth: ['t'], predictions: ['p'], other: ['o'] };

/** @param {any} pack @param {import('../state.js').State} state @returns {Side[]} */
function sidesOf(pack, state) {
  if (!pack.predictions || (state.of === 'other' && !pack.other)) return ['t'];
  return ALONE[state.of] ?? (pack.other ? ['p', 'o'] : ['t', 'p']);
}

/** @param {string} zoom @returns {import('./plane.js').View | null} */
function viewOf(zoom) {
  const [scale, x, y] = zoom.split(',').map(Number);
  return scale > 0 && Number.isFinite(x) && Number.isFinite(y) ? { scale, x, y } : null;
}

/** A canvas with its plane. @param {any} props */
function Pane({ scene, view, label, planes, name, on }) {
  const canvas = useRef(null);
  useLayoutEffect(() => {
    const plane = new Plane(/** @type {any} */ (canvas.current), {
      view: (view) => on.current.view(view, name),
      point: (x, y) => on.current.point(x, y, name),
      pick: (x, y) => on.current.pick(x, y, name),
      divide: (divider) => on.current.divide(divider),
    });
    planes.set(name, plane);
    return () => {
      planes.delete(name);
      plane.close();
    };
  }, []);
  useLayoutEffect(() => {
    const plane = planes.get(name);
    plane.scene = scene;
    plane.view = view;
    plane.draw();
  });
  return html`<div class="pane">
    <canvas ref=${canvas} class="plane" tabindex="0" role="img" aria-label=${label}></canvas>
    <span class="pane-name">${label}</span>
  </div>`;
}

/** What is under the pointer. @param {any} props */
function Readout({ emitter, describe }) {
  const [at, set] = useState(/** @type {[number, number, string]} */ ([-1, -1, '']));
  emitter.current = set;
  const parts = at[0] < 0 ? [] : describe(at[0], at[1], at[2]);
  return html`<div class="readout" role="status" aria-live="off">
    ${at[0] < 0
      ? html`<span class="quiet">${matchMedia('(hover: none)').matches ? 'Tap an object · two fingers to zoom' : html`Point at the image · wheel to zoom · drag to move · <kbd>?</kbd> keys`}</span>`
      : html`<span class="pixel">${at[0]}, ${at[1]}</span>${parts.map(
            (/** @type {any} */ part) =>
              html`<span class="under">${part.color ? html`<span class="chip" style=${{ background: css(part.color) }}></span>` : null}<b>${part.name}</b> ${part.text}</span>`,
          )}`}
  </div>`;
}

/** Loads what the page shows. @param {any} pack @param {import('../state.js').State} state @param {any} canvases @param {number} epoch how often it was corrected */
function useSample(pack, state, canvases, epoch) {
  const [data, setData] = useState(/** @type {any} */ ({ sample: -1 }));
  const [matches, setMatches] = useState(/** @type {any} */ (null));
  const [maps, setMaps] = useState(/** @type {any} */ ({}));
  const { sample } = state;
  useEffect(() => {
    let isCurrent = true;
    const parts = sheet.open(sample, pack);
    setMaps({});
    Promise.allSettled([parts.facts, parts.photo, parts.truth, parts.predictions, parts.other]).then(([facts, photo, truth, predictions, other]) => {
      if (!isCurrent || [facts, photo, truth].some((part) => part.status === 'rejected' && isAbort(part.reason))) return;
      const errors = [facts, truth, predictions, other].flatMap((part) => (part.status === 'rejected' ? [part.reason] : []));
      /** @param {any} part @param {Side} side */
      const overlay = (part, side) => (part.status === 'fulfilled' && part.value ? new Overlay(part.value, canvases[side].current, side) : null);
      setData({
        sample,
        facts: facts.status === 'fulfilled' ? facts.value : null,
        photo: photo.status === 'fulfilled' ? photo.value : null,
        photoError: photo.status === 'rejected' ? photo.reason : null,
        t: overlay(truth, 't'),
        p: overlay(predictions, 'p'),
        o: overlay(other, 'o'),
        errors,
      });
    });
    return () => {
      isCurrent = false;
    };
  }, [sample, epoch]);
  useEffect(() => {
    if (!pack.predictions) return undefined;
    const control = new AbortController();
    const limits = { score: state.score, iou: state.iou };
    const asked = [limits, ...(pack.other ? [{ ...limits, of: 'other' }] : [])];
    Promise.all(asked.map((parameters) => sheet.matches(sample, parameters, control.signal)))
      .then(([matches, other]) => setMatches({ sample, ...matches, other }))
      .catch((error) => isAbort(error) || setMatches(null));
    return () => control.abort();
  }, [sample, state.score, state.iou, epoch]);
  const needsMap = state.layers.includes('map') || (data.t && isMapAlone(data.t.masks));
  useEffect(() => {
    if (!needsMap || data.sample !== sample) return undefined;
    const control = new AbortController();
    for (const side of /** @type {Side[]} */ (['t', 'p', 'o'])) {
      if (!data[side]?.masks.hasMap || maps[side]) continue;
      sheet
        .map(sample, side, control.signal)
        .then(({ values, height, width }) => setMaps((/** @type {any} */ maps) => ({ ...maps, [side]: new LabelMap(values, height, width, canvases[`${side}map`].current) })))
        .catch((error) => isAbort(error) || setData((/** @type {any} */ data) => ({ ...data, errors: [...data.errors, error] })));
    }
    return () => control.abort();
  }, [needsMap, data]);
  return { data, maps, matches: matches?.sample === data.sample ? matches : null };
}

/** What is beside the image: what is wrong, corrections, the lists of objects and of the label map, what the source says. @param {any} props */
function Aside({ pack, state, data, maps, sides, editor, chosen, layers, least, list }) {
  const { categories, matchesOf, colors, hide, off, actions, hints } = list;
  const isThere = data.sample >= 0;
  return html`<aside class="side" aria-label="Objects">
    ${isThere && data.t?.step > 1
      ? html`<p class="wrong" role="note">
          Larger than browsers draw: every ${ordinal(data.t.step)} pixel of every ${ordinal(data.t.step)} column is shown. What is under the pointer is exact.
          ${pack.edits ? 'It cannot be corrected here.' : ''}
        </p>`
      : null}
    ${(data.errors ?? []).map((/** @type {any} */ error) => html`<p class="wrong" role="alert">${error.message} ${error.place ?? ''}</p>`)}
    ${isThere && editor && state.tool ? html`<${EditPanel} editor=${editor} pack=${pack} chosen=${chosen} hasMap=${data.t?.masks.hasMap} />` : null}
    ${isThere
      ? sides.map((/** @type {Side} */ side) =>
          data[side] && (data[side].masks.count || !data[side].masks.hasMap)
            ? html`<${ObjectList}
                title=${sides.length === 2 || pack.predictions ? NAMES[side] : 'Objects'}
                categories=${categories}
                least=${side === 't' ? 0 : least}
                list=${{ masks: data[side].masks, side, matches: matchesOf(side), colors: colors[side], hide, off, selected: state.object, on: actions, signs: state.color === 'match' && matchesOf(side) }}
              />`
            : null,
        )
      : null}
    ${isThere && layers.has('map')
      ? sides.map((/** @type {Side} */ side) =>
          maps[side]
            ? html`<${MapList} pack=${pack} map=${maps[side]} title=${sides.length === 2 ? `Label map, ${NAMES[side].toLowerCase()}` : 'Label map'} off=${off} on=${actions} hints=${hints} />`
            : null,
        )
      : null}
    ${isThere ? html`<${Facts} data=${data} state=${state} pack=${pack} />` : null}
  </aside>`;
}

/**
 * Paints objects and label maps where what is shown of them changes.
 *
 * @param {any} shown
 */
function usePainting({ pack, state, data, maps, sides, off, hide, least, colors, layers, thick, planes }) {
  useLayoutEffect(() => {
    for (const side of sides) {
      const overlay = data[side];
      if (!overlay) continue;
      const { masks } = overlay;
      const isShown = Array.from({ length: masks.count }, (_, object) => {
        if (side !== 't' && masks.score[object] < least) return false;
        return !off.has(pack.labels.categories[masks.category[object]]?.name) && !hide.has(`${side}${object}`);
      });
      const start = performance.now();
      overlay.paint(isShown, colors[side], { fill: state.fill, thick: layers.has('outline') ? thick : 0 });
      performance.measure('paint', { start, end: performance.now() });
    }
    for (const plane of planes.values()) plane.draw();
  }, [data, colors, off, hide, least, state.fill, layers, thick, state.of]);

  useLayoutEffect(() => {
    for (const side of sides) {
      const categories = pack.labels.categories;
      maps[side]?.paint(
        categories.map((/** @type {any} */ category) => category.color),
        categories.map((/** @type {any} */ category) => !off.has(category.name)),
      );
    }
    for (const plane of planes.values()) plane.draw();
  }, [maps, off, state.of]);
}

/** @param {any} props */
export function SamplePage({ pack, state, address, position, total, go, frame }) {
  const canvases = { t: useRef(null), p: useRef(null), o: useRef(null), tmap: useRef(null), pmap: useRef(null), omap: useRef(null) };
  const [epoch, setEpoch] = useState(0);
  const { data, maps, matches } = useSample(pack, state, canvases, epoch);
  const planes = useRef(new Map()).current;
  const editor = useEditor(pack, state, data, planes, setEpoch);
  const emitter = useRef((/** @type {any} */ _) => {});
  const [thick, setThick] = useState(1);
  const isMapOnly = Boolean(data.t && isMapAlone(data.t.masks));
  const layers = useMemo(() => new Set(isMapOnly && !state.layers.includes('nomap') ? [...state.layers, 'map'] : state.layers), [state.layers, isMapOnly]);
  const sides = sidesOf(pack, state);
  const matchesOf = (/** @type {string} */ side) => (side === 'o' ? matches?.other : matches) ?? null;
  const off = useMemo(() => new Set(state.off), [state.off]);
  const hide = useMemo(() => new Set(state.hide), [state.hide]);
  const least = pack.predictions?.has_scores || pack.other?.has_scores ? state.score : 0;
  const colors = useMemo(
    () => ({
      t: data.t ? colorsOf(pack, data.t.masks, 't', state.color, matches) : [],
      p: data.p ? colorsOf(pack, data.p.masks, 'p', state.color, matches) : [],
      o: data.o ? colorsOf(pack, data.o.masks, 'o', state.color, matchesOf('o')) : [],
    }),
    [data, state.color, matches],
  );

  usePainting({ pack, state, data, maps, sides, off, hide, least, colors, layers, thick, planes });

  /** Objects that are marked. @param {string} hovered */
  const marks = (hovered) =>
    [...new Set([state.object, hovered])].flatMap((name) => {
      const overlay = data[name[0]];
      const object = Number(name.slice(1));
      return overlay && name.length > 1 && object < overlay.masks.count && overlay.shown.length ? [{ overlay, object }] : [];
    });
  const remark = (/** @type {string} */ name) => {
    for (const plane of planes.values()) {
      if (plane.scene) plane.scene.marked = marks(name);
      plane.draw();
    }
  };

  const on = useRef(/** @type {any} */ (null));
  const timer = useRef(0);
  on.current = {
    /** @param {import('./plane.js').View | null} view @param {string} name */
    view: (view, name) => {
      for (const [other, plane] of planes) if (other !== name) plane.look(view);
      clearTimeout(timer.current);
      timer.current = setTimeout(() => {
        const zoom = view ? [view.scale.toFixed(3), view.x.toFixed(1), view.y.toFixed(1)].join(',') : '';
        address.set({ zoom });
      }, 150);
    },
    /** @param {number} x @param {number} y @param {string} name */
    point: (x, y, name) => {
      const isIn = data.t && x >= 0 && y >= 0 && x < data.t.masks.width && y < data.t.masks.height;
      emitter.current(isIn ? [x, y, name] : [-1, -1, '']);
      for (const [other, plane] of planes) {
        const cross = other !== name && isIn ? [x, y] : [-1, -1];
        if (plane.cross.join() === cross.join()) continue;
        plane.cross = cross;
        plane.draw();
      }
    },
    /** @param {number} x @param {number} y @param {string} name */
    pick: (x, y, name) => {
      const side = name === 'swipe' ? sides[0] : name;
      const object = data[side]?.at(x, y) ?? -1;
      const picked = object < 0 ? '' : `${side}${object}`;
      address.set({ object: picked === state.object ? '' : picked });
    },
    divide: (/** @type {number} */ divider) => address.set({ divider: Math.round(divider * 1000) / 1000 }),
  };

  useEffect(() => {
    const plane = [...planes.values()][0];
    if (!plane) return;
    const want = Math.max(1, Math.min(5, Math.round(1.3 / (plane.now().scale * devicePixelRatio))));
    if (want !== thick) setThick(want);
  }, [data, state.zoom, state.of]);

  useEffect(() => {
    const timer = setTimeout(() => sheet.prefetch(go.around(), pack), 200);
    return () => clearTimeout(timer);
  }, [data]);

  /** @param {number} x @param {number} y @param {string} name of the pane */
  const describe = (x, y, name) =>
    /** @type {Side[]} */ (name === 'swipe' ? sides : [name]).flatMap((side) => {
      const parts = [];
      const overlay = data[side];
      const object = overlay?.shown.length ? overlay.at(x, y) : -1;
      if (object >= 0) parts.push(described(pack, overlay, object, matchesOf(side), colors[side][object]));
      const value = maps[side]?.at(x, y) ?? -1;
      if (value >= 0) {
        const category = pack.labels.categories[value];
        parts.push({ color: category?.color, name: category?.name ?? 'void', text: '· label map' });
      }
      return parts;
    });

  /** @param {Side[]} shownSides */
  const scene = (shownSides) => {
    const first = data.t ?? data.p ?? data.o;
    return {
      width: first?.masks.width ?? 0,
      height: first?.masks.height ?? 0,
      photo: data.photo,
      overlays: shownSides.map((side) => data[side]).filter(Boolean),
      maps: shownSides.map((side) => maps[side] ?? null),
      opacity: Math.max(0.25, state.fill),
      layers,
      divider: state.divider,
      isDim: Boolean(editor?.draft),
      marked: marks('').filter(({ overlay, object }) => !editor?.draft || overlay.side !== 't' || editor.objects[object] !== editor.target),
      extra: editor && shownSides[0] === 't' ? (/** @type {any} */ context, /** @type {number} */ scale) => editor.paint(context, scale) : undefined,
      sign: (/** @type {Overlay} */ overlay, /** @type {number} */ object, /** @type {number} */ size) => {
        const matches = matchesOf(overlay.side);
        const sign = state.color === 'match' && matches ? `${MATCH[fate(matches, overlay.side, object)].sign} ` : '';
        const isNamed = state.object === `${overlay.side}${object}`;
        if (sign && size < 60 && !isNamed) return sign.trim();
        return `${sign}${object + 1}${isNamed ? ` ${pack.labels.categories[overlay.masks.category[object]]?.name ?? ''}` : ''}`;
      },
    };
  };
  const view = viewOf(state.zoom);
  const categories = categoriesOf(pack, sides.map((side) => data[side]?.masks).filter(Boolean)).map((category, index) => ({ ...category, hint: index < 9 ? index + 1 : '' }));
  const inMap = sides.flatMap((side) => (layers.has('map') && maps[side] ? maps[side].shares : [])).map(([index]) => pack.labels.categories[index]?.name);
  frame.categories = [...new Set([...categories.map((category) => category.name), ...inMap.filter(Boolean)])];
  frame.planes = planes;
  frame.objects = () =>
    sides.flatMap((side) => {
      const overlay = data[side];
      if (!overlay) return [];
      const rank = new Map(categories.map((category, index) => [category.index, index]));
      const objects = Array.from({ length: overlay.masks.count }, (_, object) => object).filter((object) => overlay.shown[object]);
      objects.sort((a, b) => (rank.get(overlay.masks.category[a]) ?? 0) - (rank.get(overlay.masks.category[b]) ?? 0) || a - b);
      return objects.map((object) => `${side}${object}`);
    });
  const actions = {
    mark: remark,
    /** @param {string} name @param {boolean} isShown */
    hide: (name, isShown) => address.set({ hide: isShown ? [...state.hide, name] : state.hide.filter((/** @type {string} */ other) => other !== name) }),
    select: (/** @type {string} */ name) => address.set({ object: name }),
    /** @param {string} name of a category */
    toggle: (name) => address.set({ off: off.has(name) ? state.off.filter((/** @type {string} */ other) => other !== name) : [...state.off, name] }),
    solo: (/** @type {string} */ name) => address.set({ off: categories.map((category) => category.name).filter((other) => other !== name) }),
  };
  const chosen = {
    overlay: data.t ?? null,
    object: state.object[0] === 't' && data.t && Number(state.object.slice(1)) < data.t.masks.count ? Number(state.object.slice(1)) : -1,
    prediction: state.object[0] === 'p' ? Number(state.object.slice(1)) : -1,
  };
  frame.editor = editor && state.tool ? editor : null;
  frame.chosen = chosen;
  useLayoutEffect(() => {
    const first = planes.get('t') ?? (sides[0] === 't' ? planes.get('swipe') : null);
    if (first) first.tool = editor && state.tool ? editor.pointer(() => frame.chosen) : null;
  });
  const swipe = state.of === 'swipe' && sides.length === 2;
  return html`<main class="sample" aria-busy=${data.sample !== state.sample}>
    <${Tools} pack=${pack} state=${state} address=${address} layers=${layers} isMapOnly=${isMapOnly} data=${data} position=${position} total=${total} go=${go} />
    <div class="stage">
      <div class="panes">
        ${swipe
          ? html`<${Pane} key="swipe" name="swipe" label=${sides.map((side) => NAMES[side]).join(' | ')} scene=${scene(sides)} view=${view} planes=${planes} on=${on} />`
          : sides.map((side) => html`<${Pane} key=${side} name=${side} label=${NAMES[side]} scene=${scene([side])} view=${view} planes=${planes} on=${on} />`)}
        ${data.photoError && layers.has('photo')
          ? html`<div class="photo-error" role="alert"><b>${data.photoError.status === 404 ? 'No image in this pack' : data.photoError.message}</b> ${data.photoError.place ?? ''} ${data.photoError.why ?? ''}</div>`
          : null}
        <${Zoom} planes=${planes} isFitted=${state.zoom === ''} />
      </div>
      ${(pack.other ? sides : sides.slice(0, 1)).map((side) => html`<${Legend} key=${side} state=${state} matches=${matchesOf(side)} name=${pack.other && side !== 't' ? NAMES[side] : ''} />`)}
      <${Readout} emitter=${emitter} describe=${describe} />
    </div>
    <${Aside} pack=${pack} state=${state} data=${data} maps=${maps} sides=${sides} editor=${editor} chosen=${chosen} layers=${layers} least=${least}
      list=${{ categories, matchesOf, colors, hide, off, actions, hints: frame.categories }} />
    ${['t', 'p', 'o'].map((side) => html`<canvas ref=${/** @type {any} */ (canvases)[side]} class="source" data-overlay=${side} hidden></canvas>`)}
    ${['tmap', 'pmap', 'omap'].map((side) => html`<canvas ref=${/** @type {any} */ (canvases)[side]} class="source" data-map=${side} hidden></canvas>`)}
  </main>`;
}

/**
 * The corrections of the image shown; none where the server keeps no edits.
 *
 * @param {any} pack
 * @param {import('../state.js').State} state
 * @param {any} data
 * @param {Map<string, Plane>} planes
 * @param {(next: (epoch: number) => number) => void} setEpoch
 * @returns {Editor | null}
 */
function useEditor(pack, state, data, planes, setEpoch) {
  const [, redraw] = useState(0);
  const isReduced = Boolean(data.t && data.t.step > 1);
  const editor = useMemo(() => {
    if (!pack.edits) return null;
    const made = new Editor(pack, {
      changed: () => redraw((/** @type {number} */ tick) => tick + 1),
      drawn: () => planes.forEach((plane) => plane.draw()),
      saved: (/** @type {number} */ sample) => {
        sheet.forget(sample);
        setEpoch((epoch) => epoch + 1);
      },
    });
    return made;
  }, [pack]);
  useEffect(() => {
    if (editor && !isReduced && data.t && data.sample === state.sample) editor.open(data.sample, data.t.masks);
  }, [data]);
  return isReduced ? null : editor;
}

/** 2nd, 3rd, 4th … @param {number} number 2 or more */
const ordinal = (number) => `${number}${{ 2: 'nd', 3: 'rd' }[number] ?? 'th'}`;

/** One object in words. @param {any} pack @param {Overlay} overlay @param {number} object @param {any} matches @param {number[]} color */
function described(pack, overlay, object, matches, color) {
  const { masks, side } = overlay;
  const parts = [`#${object + 1}`];
  if (masks.id[object] >= 0n) parts.push(`id ${masks.id[object]}`);
  if (areaOf(masks, object)) parts.push(`${areaOf(masks, object)} px`);
  if (!Number.isNaN(masks.score[object])) parts.push(`score ${masks.score[object].toFixed(3)}`);
  parts.push(...flagNames(masks.flags[object]));
  if (matches) {
    const what = fate(matches, side, object);
    parts.push(`${MATCH[what].sign} ${MATCH[what].name}`);
    if (side !== 't' && matches.predictions[object] >= 0) parts.push(`IoU ${matches.iou[object].toFixed(2)}`);
  }
  return { color, name: pack.labels.categories[masks.category[object]]?.name ?? '?', text: parts.join(' · ') };
}
