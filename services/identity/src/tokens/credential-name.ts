import { keyIdOf } from "../keys/key-text.ts";
import { sha256 } from "../secret-digest.ts";
import { isJwt } from "./access-tokens.ts";

/** Of a session's SHA-256 enough to find it in the database and in the log, and far too little to come in by. */
const HASH_DIGITS = 16;

/** By what somebody came in, as the audit log names it: "key:ID", "grant:ID" or "session:HASH". Only for tokens found good. */
export function credentialName(token: string): string {
  const keyId = keyIdOf(token);
  if (keyId !== undefined) return `key:${keyId}`;
  if (!isJwt(token)) return `session:${sha256(token).toString("hex").slice(0, HASH_DIGITS)}`;
  const { gid } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { gid?: string };
  return gid === undefined ? "grant" : `grant:${gid}`;
}
