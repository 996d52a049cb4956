import type { FieldViolation } from "@hms/kernel";
import { type FieldPath, type JsonFields, resolveFieldPath, setAtPath } from "./field-path.ts";
import type { HttpBinding } from "./http-binding.ts";
import { isTextField, textToJson } from "./text-value.ts";

/** More parameters than this are refused. */
const MAX_PARAMETERS = 1000;

/** One parameter and what was given for it, decoded. */
interface Given {
  readonly path: FieldPath;
  readonly texts: string[];
}

/** Reads query parameters into the fields they name; what does not fit is told in `problems`. */
export function readQuery(query: string, binding: HttpBinding, into: { json: JsonFields; problems: FieldViolation[] }) {
  if (query === "") return;
  const given = new Map<string, Given>();
  const pairs = query.split("&");
  if (pairs.length > MAX_PARAMETERS) {
    into.problems.push({ field: "", description: `A query has at most ${MAX_PARAMETERS} parameters.` });
    return;
  }
  for (const pair of pairs) if (pair !== "") collect(pair, binding, { given, problems: into.problems });
  for (const { path, texts } of given.values()) {
    const values = texts.map((text) => textToJson(path.field, text));
    if (path.field.fieldKind === "list") setAtPath(into.json, path, values);
    else if (values.length === 1) setAtPath(into.json, path, values[0]);
    else into.problems.push({ field: nameOf(path), description: "This parameter can be given once only." });
  }
}

function collect(pair: string, binding: HttpBinding, out: { given: Map<string, Given>; problems: FieldViolation[] }) {
  const equals = pair.indexOf("=");
  const name = decodeQuery(equals < 0 ? pair : pair.slice(0, equals));
  const text = decodeQuery(equals < 0 ? "" : pair.slice(equals + 1));
  if (name === undefined || text === undefined) {
    out.problems.push({ field: name ?? "", description: "This query parameter is not percent-encoded UTF-8." });
    return;
  }
  const path = parameterPath(name, binding);
  if (typeof path === "string") {
    out.problems.push({ field: name, description: path });
    return;
  }
  const key = nameOf(path);
  const before = out.given.get(key);
  if (before === undefined) out.given.set(key, { path, texts: [text] });
  else before.texts.push(text);
}

function parameterPath(name: string, binding: HttpBinding): FieldPath | string {
  if (binding.body === "all") return "This method takes everything in its body: there are no query parameters.";
  const path = resolveFieldPath(binding.method.input, name);
  if (typeof path === "string") return path;
  if (!isTextField(path.field)) return "This field has no form as text: it can only be given in a body.";
  if (binding.body !== "none" && path.steps[0] === binding.body) return "This field is given by the body.";
  const key = nameOf(path);
  if (binding.variables.some((bound) => nameOf(bound.path) === key)) return "This field is given by the path.";
  return path;
}

function nameOf({ steps }: FieldPath): string {
  return steps.map(({ jsonName }) => jsonName).join(".");
}

function decodeQuery(text: string): string | undefined {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}
