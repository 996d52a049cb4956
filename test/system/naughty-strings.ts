import { create, type DescField, type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { HmsError, type Transport } from "@hms/kernel";
import list from "big-list-of-naughty-strings" with { type: "json" };

// The Big List of Naughty Strings (Max Woolf, MIT), and what it leaves out of what breaks databases, logs and files.
const all = [
  ...(list as readonly string[]),
  "a\u0000b",
  "\u0000",
  "\r\nset-cookie: x=1",
  "\u001b]0;title\u0007\u001b[2J",
  "../../../../etc/passwd",
  "..\\..\\x",
  "%00%2e%2e%2f",
  "'; drop table account; --",
  "%s%n%x",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what templates of others would evaluate.
  "${jndi:ldap://127.0.0.1/x}${7*7}{{7*7}}<%= 7*7 %>",
  "\u202Egnp.exe",
  "\uFEFF\u200B\u2028\u2029",
  ...["__proto__", "constructor", "toString"],
  "9".repeat(400),
  "é".repeat(5000),
  "(a+)+$".repeat(20),
];

/** Texts that have broken programs: the list above, each once. */
export const naughtyStrings: readonly string[] = [...new Set(all)];

/** Names that every object of JavaScript has, so that whoever looks one up without asking finds something. */
export const everyObjectsNames: readonly string[] = ["__proto__", "constructor", "toString"];

/** A place for a text in a method's request: the names of the fields that lead there. */
export interface TextField {
  readonly method: DescMethod;
  readonly path: readonly string[];
  /** The request with a text in that place, and something plausible in others. */
  requestWith(text: string): object;
}

const DEEPEST = 6;
/** What a field of this name usually holds, so that more of a handler is reached than its first check. */
const PLAUSIBLE: Readonly<Record<string, string>> = {
  environment: "default",
  service: "no-such-svc",
  serviceId: "hms.no.such",
  version: "v1",
  instanceId: "i",
  address: "unix:/run/no-such.sock",
  permission: "services:read",
  principal: "user:nobody",
  kind: "user",
  user: "naughty",
  account: "naughty-batch",
  holder: "user:naughty",
  login: "naughty-too",
  name: "naughty",
  nodeId: "n",
  pattern: "*",
};

/** Every place for a text in what a method takes. */
export function textFields(method: DescMethod): TextField[] {
  return [...placesIn(method.input)].map(({ path, requestWith }) => ({ method, path, requestWith }));
}

interface Place {
  readonly path: readonly string[];
  requestWith(text: string): object;
}

function* placesIn(message: DescMessage, depth = 0): Generator<Place> {
  const others = plausible(message);
  for (const field of message.fields) {
    for (const { path, requestWith } of placesOf(field, depth)) {
      const whole = (text: string) => ({ ...others, ...memberOf(field, requestWith(text)) });
      yield { path: [field.localName, ...path], requestWith: whole };
    }
  }
}

/** The places in a field; what they answer with is the field's value. */
function* placesOf(field: DescField, depth: number): Generator<Place & { requestWith(text: string): unknown }> {
  if (isText(field)) yield { path: [], requestWith: (text) => text as never };
  else if (field.message?.typeName === "google.protobuf.Struct" && field.fieldKind === "message") yield* structPlaces();
  else if (field.fieldKind === "list" && field.listKind === "scalar" && field.scalar === ScalarType.STRING) {
    yield { path: [], requestWith: (text) => [text] };
  } else if (field.fieldKind === "map") yield* mapPlaces(field, depth);
  else if (field.message !== undefined && depth < DEEPEST) {
    const isList = field.fieldKind === "list";
    for (const { path, requestWith } of placesIn(field.message, depth + 1)) {
      yield { path, requestWith: (text) => (isList ? [requestWith(text)] : requestWith(text)) };
    }
  }
}

/** The places in a map by text: its keys, and what is in its values. */
function* mapPlaces(field: DescField & { fieldKind: "map" }, depth: number): Generator<Place> {
  if (field.mapKey !== ScalarType.STRING) return;
  const { message } = field;
  if (field.scalar === ScalarType.STRING) {
    yield { path: ["(key)"], requestWith: (text) => ({ [text]: "x" }) };
    yield { path: ["(value)"], requestWith: (text) => ({ key: text }) };
  } else if (message !== undefined && depth < DEEPEST) {
    yield { path: ["(key)"], requestWith: (text) => ({ [text]: create(message) }) };
    for (const { path, requestWith } of placesIn(message, depth + 1)) {
      yield { path: ["(value)", ...path], requestWith: (text) => ({ key: requestWith(text) }) };
    }
  }
}

/** Where a text can be in an object of JSON. */
function* structPlaces(): Generator<Place> {
  yield { path: ["(key)"], requestWith: (text) => ({ [text]: "x" }) };
  yield { path: ["(value)"], requestWith: (text) => ({ key: text }) };
  yield { path: ["(inner key)"], requestWith: (text) => ({ key: { [text]: [{ [text]: null }] } }) };
  yield { path: ["(inner value)"], requestWith: (text) => ({ key: [text, { key: [text] }] }) };
}

function plausible({ fields }: DescMessage): object {
  const known = fields.filter((field) => isText(field) && field.oneof === undefined && field.localName in PLAUSIBLE);
  return Object.fromEntries(known.map(({ localName }) => [localName, PLAUSIBLE[localName]]));
}

const memberOf = ({ localName, oneof }: DescField, value: unknown): object =>
  oneof === undefined ? { [localName]: value } : { [oneof.localName]: { case: localName, value } };

const isText = (field: DescField) => field.fieldKind === "scalar" && field.scalar === ScalarType.STRING;

/** A stream that says nothing for so long has begun. */
const BEGUN_MS = 400;
const HANGS_MS = 20_000;

/** How a call ends: "OK", a code, or what it must not be. */
export async function outcomeOf(transport: Transport, { method }: TextField, request: object): Promise<string> {
  const isUnary = method.methodKind === "unary";
  const options = { timeoutMs: isUnary ? HANGS_MS : BEGUN_MS };
  try {
    const input = create(method.input, request as never);
    if (isUnary) await transport.unary(method as never, input as never, options);
    else for await (const _ of transport.stream(method as never, once(input) as never, options)) break;
    return "OK";
  } catch (error) {
    const { code, message } = HmsError.from(error);
    if (!isUnary && code === "DEADLINE_EXCEEDED") return "OK";
    return code === "INTERNAL" || code === "UNKNOWN" ? `${code}: ${message}` : code;
  }
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

/** Does some work for each of a list, a number of them at the same time. */
export async function eachOf<T>(list: readonly T[], atOnce: number, work: (one: T) => Promise<void>): Promise<void> {
  const rest = list[Symbol.iterator]();
  const worker = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
