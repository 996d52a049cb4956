import { quoted } from "./quoted.ts";
import { isSecretName, SECRET_NAME_SHAPE, type SecretPiece } from "./secret-reference.ts";

/** Answers with the value of a name in the operator's environment, or undefined if it is not set. */
export type ResolveEnv = (name: string) => string | undefined;

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const ENV_REFERENCE = /^env\.([A-Za-z_][A-Za-z0-9_]*)$/;
const SECRET_REFERENCE = /^(?:hms\.)?secret\.(.*)$/s;

/** A text with its references filled in. */
export interface Interpolated {
  /** The text; where it holds secrets, without them. */
  readonly value: string;
  /** What it is put together from, in order. */
  readonly pieces: readonly SecretPiece[];
  readonly problems: readonly string[];
}

/** Fills every `${env.NAME}` in, makes every `$${` a `${`, tells secrets apart, and says what is wrong with the rest. */
export function interpolate(text: string, resolveEnv: ResolveEnv): Interpolated {
  const problems: string[] = [];
  const pieces: SecretPiece[] = [];
  let value = "";
  let done = 0;
  const add = (more: string) => {
    value += more;
    const last = pieces.at(-1);
    if (last !== undefined && "text" in last) pieces[pieces.length - 1] = { text: last.text + more };
    else if (more !== "") pieces.push({ text: more });
  };
  for (const { 0: whole, 1: inner, 2: end, index } of text.matchAll(REFERENCE)) {
    add(text.slice(done, index));
    done = index + whole.length;
    if (inner === undefined) {
      add("${");
      continue;
    }
    const outcome = end === "" ? { problem: UNFINISHED } : resolveReference(inner, resolveEnv);
    if ("problem" in outcome) problems.push(`${quoted(whole)} ${outcome.problem}`);
    else if ("secret" in outcome) pieces.push(outcome);
    else add(outcome.value);
  }
  add(text.slice(done));
  return { value, pieces, problems };
}

const UNFINISHED = "has no closing brace. Write ${env.NAME}, or $${ for these characters themselves";

function resolveReference(
  inner: string,
  resolveEnv: ResolveEnv,
): { value: string } | { secret: string } | { problem: string } {
  const name = ENV_REFERENCE.exec(inner)?.[1];
  if (name !== undefined) {
    const value = resolveEnv(name);
    if (value === undefined) {
      return {
        problem: `cannot be filled in: ${name} is not set where you run hms-sys. Set it there, or write the value here`,
      };
    }
    if (value.includes("\0")) return { problem: `cannot be filled in: ${name} contains a NUL character` };
    return { value };
  }
  const secret = SECRET_REFERENCE.exec(inner)?.[1];
  if (secret !== undefined) {
    if (isSecretName(secret)) return { secret };
    return { problem: `names no secret. Write \${secret.NAME}, in the name ${SECRET_NAME_SHAPE}` };
  }
  return {
    problem: `is no reference. Write \${env.NAME} to take a value from where you run hms-sys, \${secret.NAME} for a secret, or $\${ for these characters themselves`,
  };
}

/** What is wrong with references in a text where none is filled in; undefined if it has none. */
export function misplacedReference(text: string): string | undefined {
  const found = /\$\{((?:env|(?:hms\.)?secrets?)\.[^}]*)\}/.exec(text);
  if (!found) return undefined;
  const [whole, inner = ""] = found;
  if (!inner.startsWith("env."))
    return `${quoted(whole)} is filled in under env only. Write NAME: ${whole} there, or the secret's name under secrets, and $NAME here if this is a command`;
  return `${quoted(whole)} is filled in under env only. Write NAME: ${whole} there, and $NAME here if this is a command`;
}
