/** Problems of a value that does not match what a scenario expects; see "expect" in README.md. */
export function mismatches(expected: unknown, actual: unknown, strict = false, path = "result"): string[] {
  if (typeof expected === "object" && expected !== null && !Array.isArray(expected)) {
    const special = Object.keys(expected).filter((key) => key.startsWith("$"));
    if (special.length > 0) return matched(expected as Matcher, actual, { strict, path });
  }
  if (actual === undefined && !strict && isDefault(expected)) return [];
  if (Array.isArray(expected)) return arrays(expected, actual, { strict, path });
  if (typeof expected === "object" && expected !== null) return objects(expected, actual, { strict, path });
  return same(expected, actual) ? [] : [`${path} is ${show(actual)}, not ${show(expected)}`];
}

interface Place {
  strict: boolean;
  path: string;
}

interface Matcher {
  $any?: true;
  $absent?: true;
  $from?: number;
  $to?: number;
  $matches?: string;
  $lacks?: string;
  $length?: unknown;
  $starts?: unknown[];
  $contains?: unknown;
  $only?: Record<string, unknown>;
}

const show = (value: unknown) =>
  (JSON.stringify(value, (_, item) => (typeof item === "bigint" ? `${item}n` : item)) ?? "absent").slice(0, 300);

function isDefault(value: unknown): boolean {
  if (value === "" || value === "0" || value === 0 || value === false) return true;
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function same(expected: unknown, actual: unknown): boolean {
  if (expected === actual) return true;
  const numeric = (value: unknown) => typeof value === "number" || (typeof value === "string" && /^-?\d+$/.test(value));
  return numeric(expected) && numeric(actual) && String(expected) === String(actual);
}

function arrays(expected: unknown[], actual: unknown, { strict, path }: Place): string[] {
  if (!Array.isArray(actual)) return [`${path} is ${show(actual)}, not a list`];
  if (actual.length !== expected.length)
    return [`${path} has ${actual.length} entries, not ${expected.length}: ${show(actual)}`];
  return expected.flatMap((each, at) => mismatches(each, actual[at], strict, `${path}[${at}]`));
}

function objects(expected: object, actual: unknown, { strict, path }: Place): string[] {
  if (typeof actual !== "object" || actual === null) return [`${path} is ${show(actual)}, not ${show(expected)}`];
  const found = actual as Record<string, unknown>;
  return Object.entries(expected).flatMap(([key, each]) => mismatches(each, found[key], strict, `${path}.${key}`));
}

type Check = (wanted: never, actual: unknown, place: Place) => string[] | string | undefined;

/** What each matcher says of a value that it does not fit: one sentence, or sentences with their own place. */
const checks: Record<keyof Matcher, Check> = {
  $any: () => undefined,
  $absent: () => undefined,
  $from: (least: number, actual) => (Number.parseFloat(String(actual)) >= least ? undefined : `at least ${least}`),
  $to: (most: number, actual) => (Number.parseFloat(String(actual)) <= most ? undefined : `at most ${most}`),
  $matches: (pattern: string, actual) => (new RegExp(pattern, "u").test(String(actual)) ? undefined : pattern),
  $lacks: (part: string, actual) => (String(actual).includes(part) ? `it has ${part}` : undefined),
  $length: (wanted: unknown, actual, { path }) =>
    mismatches(wanted, (actual as { length?: number } | undefined)?.length ?? 0, true, `${path}.length`),
  $starts: (wanted: unknown[], actual, place) => arrays(wanted, (actual as unknown[]).slice(0, wanted.length), place),
  $contains: (part: unknown, actual) =>
    (actual as unknown[]).includes(part) ? undefined : `it does not contain ${show(part)}`,
  $only: (wanted: object, actual, place) => {
    const extra = Object.keys(actual as object).filter((key) => !(key in wanted));
    return extra.length > 0 ? `it has ${extra.join(", ")} too` : objects(wanted, actual, place);
  },
};

function matched(matcher: Matcher, actual: unknown, place: Place): string[] {
  const wrong = (what: string) => [`${place.path} is ${show(actual)}: ${what}`];
  if (matcher.$absent) return actual === undefined || actual === null ? [] : wrong("it should be absent");
  if (actual === undefined && matcher.$length !== 0) return wrong("it is absent");
  return Object.entries(matcher).flatMap(([name, wanted]) => {
    const said = checks[name as keyof Matcher](wanted as never, actual, place);
    return typeof said === "string" ? wrong(said) : (said ?? []);
  });
}
