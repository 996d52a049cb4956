import { type RecordReader, readRecords } from "@hms/config-file";
import { type Principal, principalName } from "@hms/kernel";

/** One key of the key file: who shows it, and what it may register. */
export interface AccessKey {
  readonly principal: Principal;
  /** SHA-256 of the token, in lower-case hexadecimal. */
  readonly tokenSha256: string;
  /** Service ids that it may register, as patterns. */
  readonly registers: readonly string[];
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$/;
const ROLE = /^[\x21-\x7e]{1,200}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const ENVIRONMENT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PATTERN = /^[a-z*](?:[a-z0-9_.*]*[a-z0-9_*])?$/;

const check = (pattern: RegExp, advice: string) => (text: string) => (pattern.test(text) ? undefined : advice);

function readKey(reader: RecordReader): AccessKey {
  const id = reader.text("id", { check: check(ID, "is no id; use 1 to 100 letters, digits and inner . _ @ -") });
  const kind = reader.word("kind", { user: "user", service: "service" } as const, undefined) ?? "user";
  const roles = reader.texts("roles", { check: check(ROLE, "is no role; use visible ASCII characters") });
  const mfa = reader.flag("mfa");
  const environment = reader.text("environment", {
    fallback: "",
    check: (text) =>
      text === "" || ENVIRONMENT.test(text)
        ? undefined
        : "is no environment; use lower-case letters, digits and inner hyphens",
  });
  const advice = "is no SHA-256 in lower-case hexadecimal; make it with: printf %s TOKEN | sha256sum";
  const tokenSha256 = reader.text("token_sha256", { check: check(SHA256, advice) });
  const registers = reader.texts("registers", {
    check: check(PATTERN, 'is no pattern; write a service id with * for any part, "hms.emr.*"'),
  });
  const principal: Principal = Object.freeze({
    kind,
    id,
    roles: Object.freeze(roles),
    mfa,
    ...(environment === "" ? {} : { environment }),
  });
  return { principal, tokenSha256, registers };
}

/**
 * Reads a key file: one object, a list, or {"keys": […]} of {id, kind (user, service), roles, mfa, environment,
 * token_sha256, registers}.
 * @throws HmsError INVALID_ARGUMENT, reason CONFIG_FILE_INVALID, with every problem, its line and column.
 */
export function parseAccessKeys(text: string, fileName: string): AccessKey[] {
  const names = new Set<string>();
  const tokens = new Set<string>();
  return readRecords(text, {
    fileName,
    listKey: "keys",
    read(reader) {
      const key = readKey(reader);
      const name = principalName(key.principal);
      if (names.has(name)) reader.refuse("id", `${name} has a key already; keep one`);
      if (tokens.has(key.tokenSha256)) reader.refuse("token_sha256", "is another key's too; give each its own token");
      names.add(name);
      tokens.add(key.tokenSha256);
      return key;
    },
  });
}
