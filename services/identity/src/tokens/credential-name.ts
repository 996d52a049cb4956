import { keyIdOf } from "../keys/key-text.ts";
import { isJwt } from "./access-tokens.ts";

/** By what somebody came in, as the audit log names it: "key:ID", "grant:ID" or "session". Only for tokens found good. */
export function credentialName(token: string): string {
  const keyId = keyIdOf(token);
  if (keyId !== undefined) return `key:${keyId}`;
  if (!isJwt(token)) return "session";
  const { gid } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { gid?: string };
  return gid === undefined ? "grant" : `grant:${gid}`;
}
