import { clone, equals } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { openExistingSealingKey, type SealingKey, SecretMask, serviceSecretContext } from "@hms/secrets";

/** What of a program's spec is about secrets. */
export type SecretParts = Pick<agent.ReplicaSpec, "environment" | "secretVariables" | "secrets">;

/** A program's secrets while it runs. */
export interface OpenedSecrets {
  /** The variables that hold them. */
  readonly env: Readonly<Record<string, string>>;
  /** Hides them in what it says. */
  readonly mask: SecretMask;
}

const NONE: OpenedSecrets = { env: {}, mask: new SecretMask([]) };

/** Opens the secrets of programs by the installation's key, which lies outside of the data directory. */
export class ProgramSecrets {
  readonly #keyFile: string;
  #key: SealingKey | undefined;

  constructor(keyFile: string) {
    this.#keyFile = keyFile;
  }

  /** Fills a program's variables in. @throws HmsError if the key is not there, is another one, or a secret was changed */
  open({ environment, secretVariables, secrets }: SecretParts): OpenedSecrets {
    if (secrets.length === 0 && secretVariables.length === 0) return NONE;
    const values = new Map(secrets.map((secret) => [secret.name, this.#value(environment, secret)]));
    const env = secretVariables.map(({ name, pieces }) => [name, pieces.map((each) => textOf(each, values)).join("")]);
    return { env: Object.fromEntries(env), mask: new SecretMask(values.values()) };
  }

  /** Seals anew what an old key has sealed; undefined if that is nothing. @throws HmsError as `open` */
  reseal(spec: agent.ReplicaSpec): { spec: agent.ReplicaSpec; resealed: number } | undefined {
    const anew = clone(agent.ReplicaSpecSchema, spec);
    let resealed = 0;
    for (const secret of anew.secrets) {
      const sealed = this.#sealingKey.reseal(secret.sealed, contextOf(spec.environment, secret));
      if (sealed === undefined) continue;
      secret.sealed = new Uint8Array(sealed);
      resealed += 1;
    }
    return resealed === 0 ? undefined : { spec: anew, resealed };
  }

  #value(environment: string, secret: agent.SealedSecret): string {
    return this.#sealingKey.open(secret.sealed, contextOf(environment, secret)).toString();
  }

  get #sealingKey(): SealingKey {
    this.#key ??= openExistingSealingKey(this.#keyFile);
    return this.#key;
  }
}

const contextOf = (environment: string, { name, version }: agent.SealedSecret) =>
  serviceSecretContext({ environment, name, version: Number(version) });

function textOf({ piece }: agent.SecretVariablePiece, values: ReadonlyMap<string, string>): string {
  if (piece.case !== "secret") return piece.value ?? "";
  const value = values.get(piece.value);
  if (value !== undefined) return value;
  throw new HmsError("INVALID_ARGUMENT", `A variable names the secret "${piece.value}", which was not sent along.`);
}

/** A spec as it is shown: the versions of its secrets without what is sealed. */
export function withoutSealed(spec: agent.ReplicaSpec): agent.ReplicaSpec {
  if (spec.secrets.length === 0) return spec;
  const shown = clone(agent.ReplicaSpecSchema, spec);
  for (const secret of shown.secrets) secret.sealed = new Uint8Array();
  return shown;
}

/** Whether two specs ask for the same; a secret that was sealed anew is the same one. */
export function isSameSpec(one: agent.ReplicaSpec, other: agent.ReplicaSpec): boolean {
  return equals(agent.ReplicaSpecSchema, withoutSealed(one), withoutSealed(other));
}
