import type { ErrorReply } from "./error-reply.ts";

/** What is answered to a token of base64url; undefined: nobody here has asked for it. */
export type ChallengeAnswer = (token: string) => string | undefined;

const PREFIX = "/.well-known/acme-challenge/";
const TOKEN = /^[\w-]{1,256}$/;

/**
 * Answers an authority that asks for proof of a name, before any route and redirect (RFC 8555 §8.3); null: it is nothing
 * that we have asked for, and goes where every other request goes.
 */
export function answerChallenge(answer: ChallengeAnswer | undefined, path: string): ErrorReply | null {
  if (answer === undefined || !path.startsWith(PREFIX)) return null;
  const token = path.slice(PREFIX.length);
  const text = TOKEN.test(token) ? answer(token) : undefined;
  return text === undefined ? null : { status: 200, message: "", text, fields: "cache-control: no-store\r\n" };
}
