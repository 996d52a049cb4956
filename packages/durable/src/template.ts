import { type ExpressionScope, parseExpression } from "./expression.ts";
import type { Json } from "./json.ts";

const MARK = "${{";

/** One text in pieces: what stands there, and expressions. */
type Piece = { text: string } | { source: string };

/** Cuts a text at `${{ … }}`; `}}` within quotes of an expression does not end it. @throws Error if one has no end. */
function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (let start = text.indexOf(MARK); start !== -1; start = text.indexOf(MARK, at)) {
    if (start > at) found.push({ text: text.slice(at, start) });
    const end = endOf(text, start + MARK.length);
    if (end === -1) throw new Error("an expression begins with ${{ and has no }}");
    found.push({ source: text.slice(start + MARK.length, end).trim() });
    at = end + 2;
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}

function endOf(text: string, from: number): number {
  const tokens = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\{|\}\}|\}/gsu;
  tokens.lastIndex = from;
  let depth = 0;
  for (let token = tokens.exec(text); token; token = tokens.exec(text)) {
    if (token[0] === "{") depth += 1;
    else if (token[0] === "}") depth -= 1;
    else if (token[0] === "}}" && depth === 0) return token.index;
    else if (token[0] === "}}") {
      depth -= 1;
      tokens.lastIndex = token.index + 1;
    }
  }
  return -1;
}

/** The nodes that the expressions of a value look at. `problem` hears of each that cannot be read, with its path. */
export function templateReads(value: Json, path: string, problem: (path: string, why: string) => void): string[] {
  if (typeof value === "string") {
    if (!value.includes(MARK)) return [];
    try {
      return pieces(value).flatMap((piece) => ("source" in piece ? parseExpression(piece.source).reads : []));
    } catch (error) {
      problem(path, (error as Error).message);
      return [];
    }
  }
  if (typeof value !== "object" || value === null) return [];
  const entries = Array.isArray(value)
    ? value.map((each, index) => [`${path}[${index}]`, each] as const)
    : Object.entries(value).map(([key, each]) => [`${path}.${key}`, each] as const);
  return entries.flatMap(([at, each]) => templateReads(each, at, problem));
}

/**
 * A value with its expressions replaced: a text that is one expression becomes what that gives, of any type; within a longer
 * text, texts stand as they are and other values as JSON. @throws Error of the expression.
 */
export function renderTemplate(value: Json, scope: ExpressionScope): Json {
  if (typeof value === "string") return value.includes(MARK) ? renderText(value, scope) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => renderTemplate(each, scope));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, renderTemplate(each, scope)]));
}

function renderText(text: string, scope: ExpressionScope): Json {
  const found = pieces(text);
  const [only] = found;
  if (found.length === 1 && only && "source" in only) return parseExpression(only.source).evaluate(scope);
  return found
    .map((piece) => {
      if ("text" in piece) return piece.text;
      const value = parseExpression(piece.source).evaluate(scope);
      return typeof value === "string" ? value : JSON.stringify(value);
    })
    .join("");
}
