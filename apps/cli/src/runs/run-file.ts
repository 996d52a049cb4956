import { readFileSync } from "node:fs";
import type { JsonObject } from "@bufbuild/protobuf";
import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { nearestName } from "@hms/manifest";
import { type Document, isCollection, isMap, isNode, isPair, LineCounter, parseDocument } from "yaml";
import { parseDuration } from "../parse-option.ts";

const KEYS = ["nodes", "labels", "inputs", "timeout", "priority", "concurrency"];
const ON_LIMIT = ["queue", "cancel_running", "reject"] as const;

/** A run as its file describes it. */
export interface RunFile {
  readonly graph: JsonObject;
  readonly labels: { readonly [name: string]: string };
  readonly inputs: JsonObject;
  readonly timeoutMs: number | undefined;
  readonly priority: number;
  readonly concurrency: { key: string; limit: number; onLimit: (typeof ON_LIMIT)[number] } | undefined;
  /** Says where in the file the problems are that the platform has found in its graph. */
  placed(error: HmsError): HmsError;
}

/** @throws HmsError INVALID_ARGUMENT with every problem and where it is; NOT_FOUND if there is no such file. */
export function readRunFile(path: string): RunFile {
  const lines = new LineCounter();
  const document = parseDocument(readText(path), { lineCounter: lines, uniqueKeys: true });
  const place = new Places(document, lines);
  const problems: FieldViolation[] = document.errors.map(({ message, pos }) => {
    const { line, col } = lines.linePos(pos[0]);
    return { field: "", description: message.split("\n")[0] ?? "", line, column: col };
  });
  const report = (field: string, description: string) => void problems.push(place.of(field, description));
  const read = problems.length === 0 ? readFields(document.toJS() ?? {}, report) : undefined;
  if (problems.length > 0 || read === undefined) throw refused(path, problems);
  return { ...read, placed: (error) => placedAt(path, place, error) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new HmsError("NOT_FOUND", `${path} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

type Report = (field: string, description: string) => void;
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readFields(file: unknown, report: Report): Omit<RunFile, "placed"> | undefined {
  if (!isRecord(file)) {
    report("", `must be a map with ${KEYS.join(", ")}`);
    return undefined;
  }
  for (const key of Object.keys(file).filter((one) => !KEYS.includes(one))) {
    const nearest = nearestName(key, KEYS);
    report(key, `is not known here${nearest ? `; did you mean ${nearest}?` : `; known are ${KEYS.join(", ")}`}`);
  }
  if (!isRecord(file.nodes)) report("nodes", "is missing: a map of the run's nodes by their names");
  return {
    graph: { nodes: file.nodes } as JsonObject,
    labels: readLabels(file.labels, report),
    inputs: readInputs(file.inputs, report),
    timeoutMs: readTimeout(file.timeout, report),
    priority: readPriority(file.priority, report),
    concurrency: readConcurrency(file.concurrency, report),
  };
}

function readLabels(labels: unknown = {}, report: Report): { [name: string]: string } {
  if (!isRecord(labels)) report("labels", "must be a map of texts");
  const entries = isRecord(labels) ? Object.entries(labels) : [];
  for (const [name, value] of entries) {
    if (!["string", "number", "boolean"].includes(typeof value)) report(`labels.${name}`, "must be a text");
  }
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

function readInputs(inputs: unknown = {}, report: Report): JsonObject {
  if (isRecord(inputs)) return inputs as JsonObject;
  report("inputs", "must be a map of values by their names");
  return {};
}

function readTimeout(timeout: unknown, report: Report): number | undefined {
  if (timeout === undefined) return undefined;
  try {
    return parseDuration("timeout", String(timeout));
  } catch {
    report("timeout", `is "${timeout}", which is no time: write 90s, 10m, 2h or 1h30m`);
    return undefined;
  }
}

function readPriority(priority: unknown = 0, report: Report): number {
  if (Number.isInteger(priority)) return priority as number;
  report("priority", "must be a whole number from -100 to 100");
  return 0;
}

function readConcurrency(concurrency: unknown, report: Report): RunFile["concurrency"] {
  if (concurrency === undefined) return undefined;
  const { key, limit = 1, on_limit: onLimit = "queue", ...others } = isRecord(concurrency) ? concurrency : {};
  for (const name of Object.keys(others))
    report(`concurrency.${name}`, "is not known here; known are key, limit, on_limit");
  if (typeof key !== "string" || key === "") report("concurrency.key", "is missing: say which runs count together");
  if (!Number.isInteger(limit) || (limit as number) < 1)
    report("concurrency.limit", "must be a whole number from 1 on");
  if (!ON_LIMIT.includes(onLimit as never)) report("concurrency.on_limit", `must be one of ${ON_LIMIT.join(", ")}`);
  return { key: String(key), limit: Number(limit), onLimit: onLimit as (typeof ON_LIMIT)[number] };
}

/** Knows where in a file things are. */
class Places {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** A problem at "nodes.patch.retry.max", or as near to it as the file goes. */
  of(field: string, description: string): FieldViolation {
    const keys = field.split(/[.[\]]/).filter((key) => key !== "");
    let offset = 0;
    let node: unknown = this.#document.contents;
    for (const key of keys) {
      if (!isCollection(node)) break;
      if (isMap(node)) {
        const pair = node.items.find((item) => isPair(item) && String(item.key) === key);
        if (!pair || !isNode(pair.key)) break;
        offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else {
        node = node.items[Number(key)];
        if (isNode(node)) offset = node.range?.[0] ?? offset;
      }
    }
    const { line, col } = this.#lines.linePos(offset);
    return { field, description, line: Math.max(1, line), column: Math.max(1, col) };
  }
}

function placedAt(path: string, place: Places, error: HmsError): HmsError {
  const { fieldViolations = [] } = error.details;
  if (error.code !== "INVALID_ARGUMENT" || fieldViolations.length === 0) return error;
  return refused(
    path,
    fieldViolations.map(({ field, description }) => place.of(field.replace(/^graph\./, ""), description)),
  );
}

function refused(path: string, fieldViolations: FieldViolation[]): HmsError {
  const count = fieldViolations.length === 1 ? "a problem" : `${fieldViolations.length} problems`;
  return new HmsError("INVALID_ARGUMENT", `${path} has ${count}.`, { fieldViolations });
}
