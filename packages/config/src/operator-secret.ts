import { HmsError } from "@hms/kernel/errors";
import { readSecretFile } from "@hms/secrets";

/**
 * A secret of the operator's: a variable of the environment, or what the file holds that NAME_FILE names; that is read once
 * for each environment, when somebody asks.
 * @throws HmsError INVALID_ARGUMENT if both are set, FAILED_PRECONDITION if the file cannot be used
 */
export function operatorSecret(env: NodeJS.ProcessEnv, name: string): () => string | undefined {
  let known: { value: string | undefined } | undefined;
  return () => {
    known ??= { value: read(env, name) };
    return known.value;
  };
}

const fileOf = (name: string) => `${name}_FILE`;

/** Whether there is such a secret, without reading it. */
export function isOperatorSecretGiven(env: NodeJS.ProcessEnv, name: string): boolean {
  return Boolean(env[name] || env[fileOf(name)]);
}

function read(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const [given, file] = [env[name], env[fileOf(name)]];
  if (given && file) throw new HmsError("INVALID_ARGUMENT", `${name} and ${fileOf(name)} are set: keep one of them.`);
  return file ? readSecretFile(file, fileOf(name)) : given || undefined;
}
