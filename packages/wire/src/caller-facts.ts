import type { RequestEnvelope } from "./request-envelope.ts";
import type { CallerFacts } from "./server-call.ts";

const BEARER = /^bearer +(\S+)$/i;
/** Larger metadata is read anew for each call. */
const REMEMBER_BYTES = 1024;

const nobody: CallerFacts = { caller: { credentials: { transport: "socket" } }, metadata: undefined };

/** Reads who calls from metadata; the token goes into the credentials and nowhere else. */
export class CallerReader {
  #seen: Buffer | undefined;
  #facts: CallerFacts = nobody;

  /** The facts of a request; metadata equal to the last call's is not read again. @throws MalformedError */
  read(envelope: RequestEnvelope): CallerFacts {
    const { bytes, metadataFrom, metadataTo } = envelope;
    const length = metadataTo - metadataFrom;
    if (length === 0) return nobody;
    const seen = this.#seen;
    if (seen !== undefined && seen.length === length && seen.compare(bytes, metadataFrom, metadataTo) === 0) {
      return this.#facts;
    }
    const facts = factsOf(envelope.metadata());
    if (length <= REMEMBER_BYTES) {
      this.#seen = Buffer.from(bytes.subarray(metadataFrom, metadataTo));
      this.#facts = facts;
    }
    return facts;
  }
}

function factsOf(metadata: Record<string, string>): CallerFacts {
  const { authorization } = metadata;
  delete metadata.authorization;
  const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
  return { caller: { credentials: { transport: "socket", token } }, metadata: Object.freeze(metadata) };
}
