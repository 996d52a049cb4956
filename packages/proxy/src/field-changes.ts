import type { FieldChanges } from "./route-rules.ts";

/** What is filled in where a field's value asks for it. */
export interface FieldFacts {
  /** "" if nobody is known. */
  readonly callerName: string;
  readonly requestId: string;
  readonly clientAddress: string;
}

/** Leaves out, of lines with their ends, fields of these lower-case names. */
function withoutFields(lines: string, names: ReadonlySet<string>): string {
  return lines
    .split("\r\n")
    .filter((line) => line === "" || !names.has(line.slice(0, line.indexOf(":")).toLowerCase()))
    .join("\r\n");
}

/** Whether lines have a field of this lower-case name. */
export function hasField(lines: string, name: string): boolean {
  const lower = lines.toLowerCase();
  return lower.startsWith(`${name}:`) || lower.includes(`\r\n${name}:`);
}

/** The value of the first field of this lower-case name in lines, or "". */
export function fieldValue(lines: string, name: string): string {
  const lower = lines.toLowerCase();
  const at = lower.startsWith(`${name}:`) ? 0 : lower.indexOf(`\r\n${name}:`);
  if (at < 0) return "";
  const start = (at === 0 ? 0 : at + 2) + name.length + 1;
  const end = lines.indexOf("\r\n", start);
  return lines.slice(start, end < 0 ? lines.length : end).trim();
}

/** A field that is written: its value, or what it is made of. */
interface Written {
  readonly name: string;
  readonly value: string | ((facts: FieldFacts) => string);
}

/** Changes of fields, made ready once. */
export class FieldEdit {
  readonly #names: ReadonlySet<string>;
  readonly #written: readonly Written[];
  readonly #absent: readonly Written[];

  constructor({ set, remove, add = {}, absent = {} }: FieldChanges) {
    this.#names = new Set([...remove, ...Object.keys(set)].map((name) => name.toLowerCase()));
    this.#written = [...Object.entries(set), ...Object.entries(add)].map(writtenOf);
    this.#absent = Object.entries(absent).map(writtenOf);
  }

  /** Lines with their ends, changed. A field whose value would be empty is left out. */
  apply(lines: string, facts: FieldFacts): string {
    let changed = this.#names.size === 0 ? lines : withoutFields(lines, this.#names);
    for (const field of this.#written) changed += lineOf(field, facts);
    for (const field of this.#absent) if (!hasField(changed, field.name)) changed += lineOf(field, facts);
    return changed;
  }
}

function writtenOf([name, value]: readonly [string, string]): Written {
  return { name: name.toLowerCase(), value: value.includes("${") ? (facts) => filledIn(value, facts) : value };
}

function lineOf({ name, value }: Written, facts: FieldFacts): string {
  const text = typeof value === "string" ? value : value(facts).trim();
  return text === "" ? "" : `${name}: ${text}\r\n`;
}

function filledIn(value: string, { callerName, requestId, clientAddress }: FieldFacts): string {
  const known: Readonly<Record<string, string>> = {
    "caller.name": callerName,
    "request.id": requestId,
    "client.address": clientAddress,
  };
  // Whatever a name is made of, it stays within its field.
  return value.replace(/\$\{([^}]*)\}/g, (_, what: string) =>
    (known[what] ?? "").replace(/[^\x20-\x7e]/g, encodeURIComponent),
  );
}
