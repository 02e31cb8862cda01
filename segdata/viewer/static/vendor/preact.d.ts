// What the page uses of preact.js, for the type checker.
export type Html = unknown;
export function html(strings: TemplateStringsArray, ...values: unknown[]): Html;
export function render(tree: Html, root: Element): void;
export class Component {
  constructor(props?: unknown);
}
export function useState<T>(first: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
export function useEffect(effect: () => void | (() => void) | undefined, inputs?: unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void) | undefined, inputs?: unknown[]): void;
export function useMemo<T>(make: () => T, inputs: unknown[]): T;
export function useRef<T>(first: T): { current: T };
