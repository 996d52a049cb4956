import type { BodyChanges } from "./route-rules.ts";

/** A body that was changed, or why it could not be. */
export type EditedBody = { readonly bytes: Buffer } | { readonly problem: string };

type Json = Record<string, unknown>;
/** Changes one object that has, or may get, the last name of a path. */
type Change = (holder: Json) => unknown;

// Deeper ones would use up the stack of who writes them again.
const DEEPEST = 512;
/** A number that JavaScript's own may not hold exactly. */
const LONG_NUMBER = /[\d.]{16}|\d[eE]/;

/** Changes of a body, made ready once. */
export class BodyEdit {
  readonly maxBytes: number;
  readonly #steps: readonly { path: readonly string[]; change: Change }[];
  readonly #wrap: string;

  constructor({ rename, remove, add, wrap, maxBytes }: BodyChanges) {
    this.maxBytes = maxBytes;
    this.#wrap = wrap;
    this.#steps = [
      ...remove.map((name) => stepOf(name, (last) => (holder) => Reflect.deleteProperty(holder, last))),
      ...Object.entries(rename).map(([name, to]) => stepOf(name, (last) => renaming(last, to))),
      ...Object.entries(add).map(([name, json]) => {
        const value: unknown = JSON.parse(json);
        return stepOf(name, (last) => (holder) => {
          holder[last] = value;
        });
      }),
    ];
  }

  /** The body, changed: members are left out first, then renamed, then set, then all is wrapped. Numbers stay as they are written. */
  apply(body: Buffer): EditedBody {
    let value: unknown;
    try {
      value = parsed(new TextDecoder("utf-8", { fatal: true }).decode(body));
    } catch (error) {
      return { problem: `is not JSON: ${(error as Error).message}` };
    }
    if (isTooDeep(value)) return { problem: `is nested more than ${DEEPEST} deep` };
    for (const { path, change } of this.#steps) walk(value, path, change);
    return { bytes: Buffer.from(JSON.stringify(this.#wrap === "" ? value : { [this.#wrap]: value })) };
  }
}

function stepOf(name: string, changeOf: (last: string) => Change) {
  const path = name.split(".");
  return { path: path.slice(0, -1), change: changeOf(path.at(-1) as string) };
}

const renaming =
  (from: string, to: string): Change =>
  (holder) => {
    if (!Object.hasOwn(holder, from)) return;
    const value = holder[from];
    delete holder[from];
    holder[to] = value;
  };

function walk(value: unknown, path: readonly string[], change: Change): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, path, change);
    return;
  }
  if (!isObject(value)) return;
  const [next, ...rest] = path;
  if (next === undefined) change(value);
  else if (Object.hasOwn(value, next)) walk(value[next], rest, change);
}

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;
const isRaw = (JSON as unknown as { isRawJSON(value: unknown): boolean }).isRawJSON;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !isRaw(value);
}

/** Parses; numbers that would lose something are kept as their text. */
function parsed(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  const keep = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && context?.source !== undefined && String(value) !== context.source
      ? rawJson(context.source)
      : value;
  return JSON.parse(text, keep);
}

function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) return true;
    level = level.flatMap((one) => (isObject(one) || Array.isArray(one) ? Object.values(one as object) : []));
  }
  return false;
}

/** Whether a media type says JSON, "application/json" or one that ends in "+json". */
export function isJsonType(contentType: string): boolean {
  const type = contentType.split(";")[0]?.trim().toLowerCase() ?? "";
  return type === "application/json" || /^application\/[^/]+\+json$/.test(type);
}
