import { HmsError } from "@hms/kernel/errors";
import type { HostEnvironment } from "./host-environment.ts";

/** What leads the platform to another machine, by the variable that says so, and how it is written with encryption. */
const WAYS = {
  DATABASE_URL: { of: "databaseUrl", schemes: [], how: "add ?sslmode=verify-full" },
  HMS_REDIS_URL: { of: "redisUrl", schemes: ["rediss:"], how: "write rediss://" },
  HMS_AUDIT_SINK: { of: "auditSink", schemes: ["https:"], how: "write https://" },
  OTEL_EXPORTER_OTLP_ENDPOINT: { of: "otlpEndpoint", schemes: ["https:"], how: "write https://" },
} as const;

/** A variable that may lead to another machine. */
export type EncryptedWay = keyof typeof WAYS;
const ENCRYPTED_WAYS = Object.keys(WAYS) as readonly EncryptedWay[];

const LOCAL = /^(?:localhost|.*\.localhost|127(?:\.\d{1,3}){3}|\[::1\]|)$/i;

/** PostgreSQL's own words for a connection that is encrypted or fails; "prefer" and "allow" would fall back. */
const ENCRYPTED_MODES = new Set(["require", "verify-ca", "verify-full", "no-verify"]);

function isPlain(variable: EncryptedWay, text: string): boolean {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Who uses it says what is wrong with it.
    return false;
  }
  const socket = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  if (LOCAL.test(url.hostname) && (url.hostname !== "" || socket.startsWith("/") || socket === "")) return false;
  if (socket.startsWith("/")) return false;
  if (variable !== "DATABASE_URL") return !WAYS[variable].schemes.some((scheme) => scheme === url.protocol);
  const mode = url.searchParams.get("sslmode");
  return !(mode === null ? ["true", "1"].includes(url.searchParams.get("ssl") ?? "") : ENCRYPTED_MODES.has(mode));
}

/**
 * Refuses to go to other machines without encryption: what is sent there could be read, and answered, by whoever is on the
 * way. This machine needs none. HMS_ALLOW_PLAINTEXT names the variables that may all the same, where something else encrypts.
 * A process that uses only some of them names these: the others are not even read.
 * @throws HmsError FAILED_PRECONDITION naming every one
 */
export function assertEncryptedWays(host: HostEnvironment, used: readonly EncryptedWay[] = ENCRYPTED_WAYS): void {
  const allowed = new Set(host.allowPlaintext);
  const unknown = host.allowPlaintext.filter((name) => !(ENCRYPTED_WAYS as readonly string[]).includes(name));
  const problems = used.flatMap((name) => {
    const given = host[WAYS[name].of];
    if (given === undefined || allowed.has(name) || !isPlain(name, given)) return [];
    return `${name} leads to another machine without TLS: ${WAYS[name].how}`;
  });
  const all = [
    ...problems,
    ...unknown.map((name) => `HMS_ALLOW_PLAINTEXT names "${name}"; it takes ${ENCRYPTED_WAYS.join(", ")}`),
  ];
  if (all.length === 0) return;
  const message = `${all.join("; ")}. Where something else encrypts the way, allow it: HMS_ALLOW_PLAINTEXT=NAME,NAME.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "PLAINTEXT_WAY" });
}
