import { comparePatterns, compilePathPattern, type PathPattern, segmentsMatch } from "./path-pattern.ts";

/** A route to be compiled, and what a request that fits it gets. */
export interface RouteInput<Target> {
  path: string;
  /** Upper case; empty: all. */
  methods: readonly string[];
  target: Target;
}

/** What a path and method came to. */
export type RouteMatch<Target> =
  | { kind: "found"; target: Target }
  | { kind: "no-path" }
  /** The path exists; `allow` is the value of the Allow header. */
  | { kind: "no-method"; allow: string };

interface MethodChoice<Target> {
  /** null: all methods. */
  methods: ReadonlySet<string> | null;
  found: { kind: "found"; target: Target };
}

interface PatternEntry<Target> {
  pattern: PathPattern;
  choices: MethodChoice<Target>[];
}

const NO_PATH = { kind: "no-path" } as const;

/** Finds a route's target: exact paths before parameters before wildcards, the longest of a kind first. */
export class RouteMatcher<Target> {
  readonly #exact = new Map<string, PatternEntry<Target>>();
  readonly #patterns: PatternEntry<Target>[];

  /** Raises INVALID_ARGUMENT for a path that is not of a known form. Of two equal routes the first one wins. */
  constructor(routes: readonly RouteInput<Target>[]) {
    const bySource = new Map<string, PatternEntry<Target>>();
    for (const route of routes) {
      let entry = bySource.get(route.path);
      if (!entry) {
        entry = { pattern: compilePathPattern(route.path), choices: [] };
        bySource.set(route.path, entry);
      }
      entry.choices.push({ methods: methodSet(route.methods), found: { kind: "found", target: route.target } });
    }
    for (const [path, entry] of bySource) if (entry.pattern.kind === "exact") this.#exact.set(path, entry);
    this.#patterns = [...bySource.values()].filter((entry) => entry.pattern.kind !== "exact");
    this.#patterns.sort((a, b) => comparePatterns(a.pattern, b.pattern));
  }

  /** Takes a path without query. */
  match(path: string, method: string): RouteMatch<Target> {
    const exact = this.#exact.get(path);
    if (exact) {
      const found = choose(exact, method);
      if (found) return found;
    }
    if (this.#patterns.length === 0 && !exact) return NO_PATH;
    return this.#matchPatterns(path, method, exact);
  }

  #matchPatterns(path: string, method: string, exact: PatternEntry<Target> | undefined): RouteMatch<Target> {
    const segments = path.slice(1).split("/");
    const refused = exact ? [exact] : [];
    for (const entry of this.#patterns) {
      if (!segmentsMatch(entry.pattern, segments)) continue;
      const found = choose(entry, method);
      if (found) return found;
      refused.push(entry);
    }
    return refused.length === 0 ? NO_PATH : { kind: "no-method", allow: allowOf(refused) };
  }
}

function methodSet(methods: readonly string[]): ReadonlySet<string> | null {
  if (methods.length === 0) return null;
  const set = new Set(methods.map((method) => method.toUpperCase()));
  if (set.has("GET")) set.add("HEAD");
  return set;
}

function choose<Target>(entry: PatternEntry<Target>, method: string) {
  for (const choice of entry.choices) {
    if (choice.methods === null || choice.methods.has(method)) return choice.found;
  }
  return undefined;
}

function allowOf<Target>(entries: readonly PatternEntry<Target>[]): string {
  const methods = new Set<string>();
  for (const entry of entries) for (const choice of entry.choices) for (const m of choice.methods ?? []) methods.add(m);
  return [...methods].sort().join(", ");
}
