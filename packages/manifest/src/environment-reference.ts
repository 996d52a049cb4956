import { quoted } from "./quoted.ts";

/** Answers with the value of a name in the operator's environment, or undefined if it is not set. */
export type ResolveEnv = (name: string) => string | undefined;

const REFERENCE = /\$\$\{|\$\{([^}]*)(\}?)/g;
const ENV_REFERENCE = /^env\.([A-Za-z_][A-Za-z0-9_]*)$/;
const SECRET_REFERENCE = /^(?:hms\.)?secrets?\./;

const NO_SECRETS =
  "Secrets do not exist in this version yet. Set the variable where you run hms-sys and write ${env.NAME}";

/** The text with every `${env.NAME}` replaced and every `$${` made `${`, and what is wrong with the rest. */
export function interpolate(text: string, resolveEnv: ResolveEnv): { value: string; problems: string[] } {
  const problems: string[] = [];
  const value = text.replace(REFERENCE, (whole: string, inner: string | undefined, end: string | undefined) => {
    if (inner === undefined) return "${";
    const outcome = end === "" ? { problem: UNFINISHED } : resolveReference(inner, resolveEnv);
    if ("value" in outcome) return outcome.value;
    problems.push(`${quoted(whole)} ${outcome.problem}`);
    return "";
  });
  return { value, problems };
}

const UNFINISHED = "has no closing brace. Write ${env.NAME}, or $${ for these characters themselves";

function resolveReference(inner: string, resolveEnv: ResolveEnv): { value: string } | { problem: string } {
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
  if (SECRET_REFERENCE.test(inner)) return { problem: `asks for a secret. ${NO_SECRETS}` };
  return {
    problem: `is no reference. Write \${env.NAME} to take a value from where you run hms-sys, or $\${ for these characters themselves`,
  };
}

/** What is wrong with references in a text where none is filled in; undefined if it has none. */
export function misplacedReference(text: string): string | undefined {
  const found = /\$\{((?:env|(?:hms\.)?secrets?)\.[^}]*)\}/.exec(text);
  if (!found) return undefined;
  const [whole, inner = ""] = found;
  if (SECRET_REFERENCE.test(inner)) return `${quoted(whole)} asks for a secret. ${NO_SECRETS}, under env`;
  return `${quoted(whole)} is filled in under env only. Write NAME: ${whole} there, and $NAME here if this is a command`;
}
