import { readFileSync } from "node:fs";

/** What the server has put down as the answer to a token; undefined: nothing, or what cannot be read. */
export function challengeAnswer(folder: string, token: string): string | undefined {
  try {
    return readFileSync(`${folder}/${token}`, "latin1");
  } catch {
    return undefined;
  }
}
