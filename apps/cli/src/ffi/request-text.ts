import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { type FieldViolation, HmsError } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import { jsonFormat } from "@hms/wire";

/**
 * The requests that words of a command line stand for, as JSON texts: one JSON document, `@FILE`, `-`, or fields. A file
 * or standard input may hold several, one a line or as one array, for methods that take a stream.
 * @throws HmsError INVALID_ARGUMENT
 */
export async function requestTexts(words: readonly string[], desc: DescMessage, several: boolean): Promise<string[]> {
  const [first = "{}"] = words;
  if (words.length > 1 || /^[\w.]+=/.test(first)) return [JSON.stringify(fieldsOf(words, desc))];
  if (/^[a-z_][\w.]*$/i.test(first)) throw noField(first);
  const content = await contentOf(first);
  return several ? documentsOf(content) : [content];
}

async function contentOf(word: string): Promise<string> {
  if (word === "-") return text(process.stdin);
  if (!word.startsWith("@")) return word;
  try {
    return readFileSync(word.slice(1), "utf8");
  } catch (cause) {
    throw new HmsError("INVALID_ARGUMENT", `${word.slice(1)} cannot be read: ${(cause as Error).message}.`, { cause });
  }
}

function documentsOf(content: string): string[] {
  try {
    const value: unknown = JSON.parse(content);
    return Array.isArray(value) ? value.map((one) => JSON.stringify(one)) : [content];
  } catch {
    // Not one document: one a line.
    return content.split("\n").filter((line) => line.trim() !== "");
  }
}

function fieldsOf(words: readonly string[], desc: DescMessage): object {
  const value: Record<string, unknown> = {};
  for (const word of words) {
    const [, path, given] = /^([\w.]+)=(.*)$/s.exec(word) ?? [];
    if (path === undefined || given === undefined) {
      throw noField(word);
    }
    setPath({ value, desc }, path.split("."), given);
  }
  return value;
}

function noField(word: string): HmsError {
  return new HmsError("INVALID_ARGUMENT", `"${word}" is no field: write name=value, or the whole request as JSON.`);
}

interface Target {
  value: Record<string, unknown>;
  /** Undefined inside of maps and Structs, where any name will do. */
  desc: DescMessage | undefined;
}

function setPath({ value, desc }: Target, [name = "", ...rest]: string[], given: string): void {
  const field = desc?.fields.find((one) => one.name === name || one.localName === name || one.jsonName === name);
  if (rest.length === 0) {
    value[name] = fieldValue(field, given);
    return;
  }
  const inner = (value[name] ?? {}) as Record<string, unknown>;
  value[name] = inner;
  setPath({ value: inner, desc: field?.fieldKind === "message" ? field.message : undefined }, rest, given);
}

/** Texts as they are; anything else as JSON where it is JSON. */
function fieldValue(field: DescField | undefined, given: string): unknown {
  const isText =
    field?.fieldKind === "scalar" && (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES);
  if (isText || field?.fieldKind === "enum") return given;
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}

/**
 * The message that a JSON text stands for.
 * @throws HmsError INVALID_ARGUMENT with every problem and the nearest names
 */
export function requestMessage(desc: DescMessage, content: string): unknown {
  const bytes = Buffer.from(content, "utf8");
  const problem = objectProblem(content);
  if (problem !== undefined && content.trim() !== "") {
    throw new HmsError("INVALID_ARGUMENT", `The request of type ${desc.name} ${problem}. Nothing was sent.`);
  }
  try {
    return jsonFormat.decode(desc, bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const violations = (jsonFormat.violations?.(desc, bytes) ?? []).map((one) => withNearest(one, desc));
    const problems = violations
      .map(({ field, description }) => (field === "" ? description : `${field}: ${description}`))
      .join(" ");
    throw new HmsError(
      "INVALID_ARGUMENT",
      `The request is no ${desc.name}. ${problems || `${why}.`} Nothing was sent.`,
      {
        cause,
        ...(violations.length > 0 ? { fieldViolations: violations } : {}),
      },
    );
  }
}

function withNearest({ field, description }: FieldViolation, desc: DescMessage): FieldViolation {
  const near = nearestName(
    field,
    desc.fields.map(({ name }) => name),
  );
  const found = desc.fields.find(({ name, jsonName }) => name === field || jsonName === field);
  if (found?.enum) return { field, description: `${description} is none of ${namesOf(found.enum)}.` };
  const known = found !== undefined;
  const told = /[.?!]$/.test(description) ? description : `${description}.`;
  return { field, description: known || near === undefined ? told : `${told} Did you mean ${near}?` };
}

const namesOf = ({ values }: DescEnum) => values.map(({ name }) => name).join(", ");

/** Why a text is no JSON object, as a clause; undefined if it is one. */
function objectProblem(content: string): string | undefined {
  try {
    const value: unknown = JSON.parse(content);
    if (Array.isArray(value)) return 'is a list: write one JSON object, {"name": "value"}';
    return typeof value === "object" && value !== null ? undefined : 'is no JSON object: write {"name": "value"}';
  } catch (error) {
    return `is not JSON: ${(error as Error).message}`;
  }
}
