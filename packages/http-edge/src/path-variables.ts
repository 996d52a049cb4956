import type { FieldViolation } from "@hms/kernel";
import { type JsonFields, setAtPath } from "./field-path.ts";
import type { BoundVariable, HttpBinding } from "./http-binding.ts";
import { textToJson } from "./text-value.ts";

/** Reads the variables of a path into the fields they are bound to; what does not fit is told in `problems`. */
export function readPath(
  segments: readonly string[],
  binding: HttpBinding,
  into: { json: JsonFields; problems: FieldViolation[] },
): void {
  for (const bound of binding.variables) {
    const text = captured(segments, bound);
    if (text === undefined) {
      const description = "This part of the path is not percent-encoded UTF-8.";
      into.problems.push({ field: bound.variable.fieldPath, description });
    } else setAtPath(into.json, bound.path, textToJson(bound.path.field, text));
  }
}

function captured(segments: readonly string[], { variable }: BoundVariable): string | undefined {
  const { from, to, isMultiple } = variable;
  if (!isMultiple) return decodeAll(segments[from] ?? "");
  const parts = segments.slice(from, to < 0 ? undefined : to).map(decodeButSlash);
  return parts.includes(undefined) ? undefined : parts.join("/");
}

function decodeAll(text: string): string | undefined {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

// Otherwise nobody could tell a slash of a value from one between two values.
function decodeButSlash(text: string): string | undefined {
  const parts = text.split(/(%2f)/i).map((part, index) => (index % 2 === 1 ? part : decodeAll(part)));
  return parts.includes(undefined) ? undefined : parts.join("");
}
