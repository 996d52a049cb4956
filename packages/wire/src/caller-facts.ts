import type { Credentials } from "@hms/kernel";
import type { RequestEnvelope } from "./request-envelope.ts";
import type { CallerFacts } from "./server-call.ts";

const AUTHORIZATION = /^(bearer|ticket) +(\S+)$/i;
/** Larger metadata is read anew for each call. */
const REMEMBER_BYTES = 1024;
/** Characters of tokens and tickets that a connection remembers: some 150 principals on whose behalf it calls. */
const REMEMBER_CHARACTERS = 64 * 1024;

/** What a connection knows of its peer whatever its calls show. */
export type PeerCredentials = Pick<Credentials, "transport" | "peer">;

/**
 * Reads who calls from metadata; token and ticket go into the credentials and nowhere else. Calls of a connection that
 * show the same ones get the same `credentials` object, so that an identity source can keep its verdict by it.
 */
export class CallerReader {
  readonly #peer: PeerCredentials;
  readonly #nobody: CallerFacts;
  readonly #callers = new Map<string, CallerFacts["caller"]>();
  #remembered = 0;
  #seen: Buffer | undefined;
  #facts: CallerFacts;

  constructor(peer: PeerCredentials) {
    this.#peer = peer;
    this.#nobody = { caller: { credentials: peer }, metadata: undefined };
    this.#facts = this.#nobody;
  }

  /** The facts of a request; metadata equal to the last call's is not read again. @throws MalformedError */
  read(envelope: RequestEnvelope): CallerFacts {
    const { bytes, metadataFrom, metadataTo } = envelope;
    const length = metadataTo - metadataFrom;
    if (length === 0) return this.#nobody;
    const seen = this.#seen;
    if (seen !== undefined && seen.length === length && seen.compare(bytes, metadataFrom, metadataTo) === 0) {
      return this.#facts;
    }
    const facts = this.#factsOf(envelope.metadata());
    if (length <= REMEMBER_BYTES) {
      this.#seen = Buffer.from(bytes.subarray(metadataFrom, metadataTo));
      this.#facts = facts;
    }
    return facts;
  }

  #factsOf(metadata: Record<string, string>): CallerFacts {
    const { authorization } = metadata;
    delete metadata.authorization;
    const caller = authorization === undefined ? this.#nobody.caller : this.#callerOf(authorization);
    return { caller, metadata: Object.freeze(metadata) };
  }

  #callerOf(authorization: string): CallerFacts["caller"] {
    const known = this.#callers.get(authorization);
    if (known !== undefined) return known;
    const [, scheme = "", value] = AUTHORIZATION.exec(authorization) ?? [];
    const shown = scheme.toLowerCase() === "ticket" ? { ticket: value } : { token: value };
    const caller = { credentials: { ...this.#peer, ...shown } };
    this.#remember(authorization, caller);
    return caller;
  }

  #remember(authorization: string, caller: CallerFacts["caller"]): void {
    this.#callers.set(authorization, caller);
    this.#remembered += authorization.length;
    for (const oldest of this.#callers.keys()) {
      if (this.#remembered <= REMEMBER_CHARACTERS) return;
      this.#callers.delete(oldest);
      this.#remembered -= oldest.length;
    }
  }
}
