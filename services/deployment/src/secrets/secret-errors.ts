import { HmsError } from "@hms/kernel";
import type { SecretKey } from "./secret-store.ts";

const shown = (name: string) => `"${name.slice(0, 128)}"`;
const hint = (nearest: string | undefined) =>
  nearest === undefined ? "List them with: hms-sys secrets list." : `Did you mean "${nearest}"?`;

/** NOT_FOUND: the environment has no secret of this name; the nearest one is named. */
export function noSuchSecret(environment: string, name: string, nearest: string | undefined): HmsError {
  const message = `There is no secret ${shown(name)} in the environment "${environment}". ${hint(nearest)}`;
  return new HmsError("NOT_FOUND", message, { reason: "SECRET_NOT_FOUND" });
}

/** NOT_FOUND: the secret has no such version, or it was destroyed. */
export function noSuchVersion(name: string, version: number, known: readonly number[]): HmsError {
  const message = `The secret ${shown(name)} has no version ${version} any more, or never had. There are: ${known.join(", ")}.`;
  return new HmsError("NOT_FOUND", message, { reason: "SECRET_VERSION_NOT_FOUND" });
}

/** A secret that a manifest names and that cannot be given to its service. */
export interface UnusableSecret {
  name: string;
  /** The variables that ask for it. */
  variables: readonly string[];
  nearest: string | undefined;
}

/** INVALID_ARGUMENT: a manifest names secrets that there are not, each with the nearest one. */
export function unknownSecrets(environment: string, unknown: readonly UnusableSecret[]): HmsError {
  const fieldViolations = unknown.map(({ name, variables, nearest }) => {
    const advice =
      nearest === undefined
        ? `Set it first: hms-sys secrets set ${name} -e ${environment}.`
        : `Did you mean "${nearest}"? Else set it: hms-sys secrets set ${name} -e ${environment}.`;
    return {
      field: `secrets.${variables[0]}`,
      description: `There is no secret ${shown(name)} in the environment "${environment}", for ${variables.join(", ")}. ${advice}`,
    };
  });
  const several = unknown.length > 1 ? `The manifest names ${unknown.length} secrets that there are not. ` : "";
  const message = several + fieldViolations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", message, { reason: "SECRET_NOT_FOUND", fieldViolations });
}

/** FAILED_PRECONDITION: a revision was deployed with versions that have been destroyed. */
export function destroyedVersions(service: string, destroyed: readonly { name: string; version: number }[]): HmsError {
  const what = destroyed.map(({ name, version }) => `version ${version} of ${shown(name)}`).join(", ");
  const message = `That revision of "${service}" was deployed with secrets that have been destroyed: ${what}. Deploy its manifest again with the newest ones, or go back to another revision.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SECRET_DESTROYED" });
}

/** FAILED_PRECONDITION: services that are meant to run have a secret that is to be removed. */
export function secretInUse(name: string, services: readonly string[], hidden: number): HmsError {
  const others = hidden > 0 ? [`${hidden} that you may not read`] : [];
  const who = [...services.map((service) => `"${service}"`), ...others].join(", ");
  const message = `The secret ${shown(name)} is used by services that are meant to run: ${who}. Deploy them without it, or stop them, first.`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "SECRET_IN_USE" });
}

/** FAILED_PRECONDITION: this server has no key to seal by. */
export function noSealingKey(): HmsError {
  return new HmsError("FAILED_PRECONDITION", "This server has no key to seal secrets by; start it by: hms-sys up.");
}

/** One version cannot be sealed anew; if it was changed, nothing but another value helps. */
export function notResealed({ environment, name, version }: SecretKey & { version: number }, cause: unknown): HmsError {
  const { code, message, details } = HmsError.from(cause);
  const help =
    details.reason === "SEALED_SECRET_DAMAGED"
      ? ` Set it anew and deploy what uses it, or take it away: hms-sys secrets remove ${name} -e ${environment}`
      : "";
  const said = `Version ${version} of the secret "${name}" in ${environment} cannot be sealed anew: ${message}${help}`;
  return new HmsError(code, said, { ...details, cause });
}
