import { createHash } from "node:crypto";
import { openConfigFile } from "@hms/config-file";
import { type HmsError, type Principal, principalName } from "@hms/kernel";
import { type AccessKey, parseAccessKeys } from "./access-keys.ts";
import { remembered } from "./remembered.ts";
import type { TokenSource } from "./token-identity.ts";

/** Where a key file is and who hears of it. */
export interface KeyFileOptions {
  path: string;
  /** Hears of each change: how many keys there are, and whose keys are gone or may do less ("user:anna"). */
  onChange: (count: number, reduced: readonly string[]) => void;
  /** Hears why the file cannot be used; the keys read last stay good. */
  onFailure: (failure: HmsError) => void;
}

/** The keys of people and programs outside, as their file says. */
export interface KeyFile extends TokenSource, Disposable {
  /** The service ids that a principal of the file may register, as patterns; undefined for others. */
  registersOf(principal: Principal): readonly string[] | undefined;
  /** A principal of an earlier call as the file has it now; undefined if its key has gone; others as they are. */
  current(principal: Principal): Principal | undefined;
}

/** Opens a key file and follows it; only its owner may be able to read it. Without the file there are no keys. */
export function openKeyFile({ path, onChange, onFailure }: KeyFileOptions): KeyFile {
  const file = openConfigFile<readonly AccessKey[]>({
    path,
    access: "private",
    parse: (text) => parseAccessKeys(text, path),
    absent: [],
    onChange(now, before) {
      index = indexOf(now);
      onChange(now.length, reducedBy(now, before));
    },
    onFailure,
  });
  let index = indexOf(file.current);
  return {
    principalOf: (token) => index.principalOf(token),
    registersOf: (principal) => index.registers.get(principalName(principal)),
    current: (principal) => (isKeys(principal) ? index.byName.get(principalName(principal)) : principal),
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

/** Whether a principal is one that a key stands for: ids of deployed services have a slash, which no key's has. */
function isKeys({ kind, id }: Principal): boolean {
  return kind === "user" || (kind === "service" && !id.includes("/"));
}

function indexOf(keys: readonly AccessKey[]) {
  const byDigest = new Map(keys.map(({ tokenSha256, principal }) => [tokenSha256, principal]));
  return {
    byName: new Map(keys.map(({ principal }) => [principalName(principal), principal])),
    registers: new Map(keys.map(({ principal, registers }) => [principalName(principal), registers])),
    // Who does not know a token cannot choose its digest, so finding it by digest gives nothing away.
    principalOf: remembered((token) => byDigest.get(createHash("sha256").update(token).digest("hex"))),
  };
}

/** Whose keys are gone or stand for less than before. */
function reducedBy(now: readonly AccessKey[], before: readonly AccessKey[]): string[] {
  const current = new Map(now.map((key) => [principalName(key.principal), key]));
  return before.flatMap((old) => {
    const name = principalName(old.principal);
    return isLess(current.get(name), old) ? [name] : [];
  });
}

function isLess(key: AccessKey | undefined, old: AccessKey): boolean {
  if (key === undefined || key.tokenSha256 !== old.tokenSha256) return true;
  const { roles = [], mfa, environment } = key.principal;
  const lostRole = old.principal.roles?.some((role) => !roles.includes(role));
  return lostRole === true || (old.principal.mfa === true && !mfa) || environment !== old.principal.environment;
}
