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

const show = (value: unknown) => (JSON.stringify(value) ?? "absent").slice(0, 300);

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
  if (actual.length !== expected.length) return [`${path} has ${actual.length} entries, not ${expected.length}: ${show(actual)}`];
  return expected.flatMap((each, at) => mismatches(each, actual[at], strict, `${path}[${at}]`));
}

function objects(expected: object, actual: unknown, { strict, path }: Place): string[] {
  if (typeof actual !== "object" || actual === null) return [`${path} is ${show(actual)}, not ${show(expected)}`];
  const found = actual as Record<string, unknown>;
  return Object.entries(expected).flatMap(([key, each]) => mismatches(each, found[key], strict, `${path}.${key}`));
}

function matched(matcher: Matcher, actual: unknown, { strict, path }: Place): string[] {
  const wrong = (what: string) => [`${path} is ${show(actual)}: ${what}`];
  if (matcher.$absent) return actual === undefined || actual === null ? [] : wrong("it should be absent");
  if (actual === undefined && matcher.$length !== 0) return wrong("it is absent");
  const text = String(actual);
  const number = Number.parseFloat(text);
  if (matcher.$from !== undefined && !(number >= matcher.$from)) return wrong(`at least ${matcher.$from}`);
  if (matcher.$to !== undefined && !(number <= matcher.$to)) return wrong(`at most ${matcher.$to}`);
  if (matcher.$matches !== undefined && !new RegExp(matcher.$matches, "u").test(text)) return wrong(matcher.$matches);
  if (matcher.$lacks !== undefined && text.includes(matcher.$lacks)) return wrong(`it has ${matcher.$lacks}`);
  if (matcher.$length !== undefined) {
    const length = (actual as { length?: number } | undefined)?.length ?? 0;
    return mismatches(matcher.$length, length, true, `${path}.length`);
  }
  if (matcher.$starts !== undefined) return arrays(matcher.$starts, (actual as unknown[]).slice(0, matcher.$starts.length), { strict, path });
  if (matcher.$contains !== undefined && !(actual as unknown[]).includes(matcher.$contains)) return wrong(`without ${show(matcher.$contains)}`);
  if (matcher.$only === undefined) return [];
  const extra = Object.keys(actual as object).filter((key) => !(key in (matcher.$only as object)));
  if (extra.length > 0) return wrong(`it has ${extra.join(", ")} too`);
  return objects(matcher.$only, actual, { strict, path });
}
