import { HmsError } from "@hms/kernel/errors";
import { readSecretSource } from "@hms/secrets";

/**
 * A secret of the operator's by a variable of the environment, or where it is kept: NAME_FILE names a file that holds it, and,
 * if `takesCommand`, NAME_COMMAND a command that prints it; it is run at most once for each environment.
 * @throws HmsError INVALID_ARGUMENT if more than one is given, FAILED_PRECONDITION if nothing can be had from there
 */
export function operatorSecret(env: NodeJS.ProcessEnv, name: string, takesCommand: boolean): () => string | undefined {
  let known: { value: string | undefined } | undefined;
  return () => {
    known ??= { value: read(env, name, takesCommand) };
    return known.value;
  };
}

/** Whether there is such a secret, without reading it from where it is kept. */
export function isOperatorSecretGiven(env: NodeJS.ProcessEnv, name: string): boolean {
  return waysOf(name, true).some((way) => Boolean(env[way]));
}

const waysOf = (name: string, takesCommand: boolean) =>
  takesCommand ? [name, `${name}_FILE`, `${name}_COMMAND`] : [name, `${name}_FILE`];

function read(env: NodeJS.ProcessEnv, name: string, takesCommand: boolean): string | undefined {
  const [way, ...others] = waysOf(name, takesCommand).filter((each) => env[each]);
  if (way === undefined) return undefined;
  if (others.length > 0) {
    throw new HmsError("INVALID_ARGUMENT", `${[way, ...others].join(" and ")} are set: keep one of them.`);
  }
  const given = env[way] ?? "";
  if (way === name) return given;
  const source = way.endsWith("_FILE") ? { kind: "file", path: given } : { kind: "command", command: given };
  return readSecretSource(source as Parameters<typeof readSecretSource>[0], way);
}
