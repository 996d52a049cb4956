import { HmsError } from "@hms/kernel";
import type { SecretParts } from "./program-secrets.ts";

/** The parts of a replica's id. */
export interface ReplicaName {
  environment: string;
  service: string;
  revision: bigint;
  /** Index and suffix: tells replicas of one revision apart. */
  last: string;
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const REVISION = /^(?:0|[1-9]\d{0,17})$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

function refuse(field: string, description: string): never {
  throw new HmsError("INVALID_ARGUMENT", `${field}: ${description}`, { fieldViolations: [{ field, description }] });
}

/** Refuses what cannot be a part of a path: only 1 to 63 lower-case letters, digits and inner hyphens pass. */
export function checkName(field: string, value: string): string {
  if (NAME.test(value)) return value;
  return refuse(field, `"${value}" is no name: use 1 to 63 lower-case letters, digits and inner hyphens.`);
}

/** Takes an id apart: environment/service/revision/index-suffix. */
export function parseReplicaId(replicaId: string, field = "replica_id"): ReplicaName {
  const [environment = "", service = "", revision = "", last = "", ...more] = replicaId.split("/");
  const valid =
    more.length === 0 && [environment, service, last].every((part) => NAME.test(part)) && REVISION.test(revision);
  if (!valid) refuse(field, `"${replicaId}" is no replica id: write environment/service/revision/index-suffix.`);
  return { environment, service, revision: BigInt(revision), last };
}

/** The id as one word that can name a file or a control group. */
export function replicaKey(replicaId: string): string {
  parseReplicaId(replicaId);
  return replicaId.replaceAll("/", "~");
}

/** The hexadecimal part of a release digest. */
export function digestHex(field: string, digest: string): string {
  if (DIGEST.test(digest)) return digest.slice("sha256:".length);
  return refuse(field, `"${digest}" is no release digest: write sha256: and 64 hexadecimal digits.`);
}

/** Refuses variables that a shell could not pass on. */
export function checkEnv(field: string, env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (!VARIABLE.test(name))
      refuse(`${field}.${name}`, "use letters, digits and underscores, not beginning with a digit.");
    if (value.includes("\0")) refuse(`${field}.${name}`, "a value cannot hold the NUL character.");
  }
}

/** Refuses variables with secrets that a shell could not pass on, or that name what was not sent along. */
export function checkSecrets(prefix: string, { secretVariables, secrets }: SecretParts): void {
  const known = new Set(secrets.map(({ name }) => name));
  for (const { name, pieces } of secretVariables) {
    const texts = pieces.map(({ piece }) => (piece.case === "text" ? piece.value : ""));
    checkEnv(`${prefix}secret_variables`, { [name]: texts.join("") });
    for (const { piece } of pieces) {
      if (piece.case !== "secret" || known.has(piece.value)) continue;
      refuse(`${prefix}secret_variables.${name}`, `the secret "${piece.value}" was not sent along.`);
    }
  }
}

/** Refuses a command that is empty or cannot be an argument. */
export function checkCommand(field: string, command: string): void {
  if (command.trim() === "" || command.includes("\0")) refuse(field, "write the command that /bin/sh -c shall run.");
}
