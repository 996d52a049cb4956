import type { Credentials } from "@hms/kernel";
import type { RequestEnvelope } from "./request-envelope.ts";
import type { CallerFacts } from "./server-call.ts";

const AUTHORIZATION = /^(bearer|ticket) +(\S+)$/i;
/** Larger metadata is read anew for each call. */
const REMEMBER_BYTES = 1024;
/** A longer ticket or token is read anew for each call. */
const REMEMBER_ENTRY_BYTES = 4096;
/** Characters of tokens and tickets that a connection remembers: some 150 principals on whose behalf it calls. */
const REMEMBER_CHARACTERS = 64 * 1024;

/** What a connection knows of its peer whatever its calls show. */
export type PeerCredentials = Pick<Credentials, "transport" | "peer" | "known">;

/**
 * Whoever calls on one connection, by what the calls show. Calls that show the same token or ticket get the same
 * `credentials` object, so that an identity source can keep its verdict by it.
 */
export class PeerCallers {
  readonly #peer: PeerCredentials;
  readonly #nobody: CallerFacts["caller"];
  readonly #known = new Map<string, CallerFacts["caller"]>();
  #remembered = 0;

  constructor(peer: PeerCredentials) {
    this.#peer = peer;
    this.#nobody = { credentials: peer };
  }

  /** The caller that an `authorization` shows: "Bearer TOKEN", "Ticket TICKET"; nobody for anything else. */
  of(authorization: string | undefined): CallerFacts["caller"] {
    if (authorization === undefined) return this.#nobody;
    const known = this.#known.get(authorization);
    if (known !== undefined) return known;
    const [, scheme = "", value] = AUTHORIZATION.exec(authorization) ?? [];
    const shown = scheme.toLowerCase() === "ticket" ? { ticket: value } : { token: value };
    const caller = { credentials: { ...this.#peer, ...shown } };
    this.#remember(authorization, caller);
    return caller;
  }

  #remember(authorization: string, caller: CallerFacts["caller"]): void {
    this.#known.set(authorization, caller);
    this.#remembered += authorization.length;
    for (const oldest of this.#known.keys()) {
      if (this.#remembered <= REMEMBER_CHARACTERS) return;
      this.#known.delete(oldest);
      this.#remembered -= oldest.length;
    }
  }
}

/** Reads who calls from metadata; token and ticket go into the credentials and nowhere else. */
export class CallerReader {
  readonly #callers: PeerCallers;
  #seen: Buffer | undefined;
  #facts: CallerFacts;
  /** What the last call showed, and, once another has shown the same, its bytes. */
  #shown: { authorization: string; caller: CallerFacts["caller"]; entry?: Buffer | undefined } | undefined;
  readonly #nobody: CallerFacts;

  constructor(peer: PeerCredentials) {
    this.#callers = new PeerCallers(peer);
    this.#nobody = { caller: this.#callers.of(undefined), metadata: undefined };
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
    const facts = this.#shownAgain(envelope) ?? this.#shownAnew(envelope);
    // What belongs to a trace is not said twice.
    if (length <= REMEMBER_BYTES && facts.metadata?.traceparent === undefined) {
      this.#seen = Buffer.from(bytes.subarray(metadataFrom, metadataTo));
      this.#facts = facts;
    }
    return facts;
  }

  /** The facts of a request that shows what the last one did: a ticket goes with many calls and is read once. */
  #shownAgain(envelope: RequestEnvelope): CallerFacts | undefined {
    const shown = this.#shown;
    if (shown?.entry === undefined) return undefined;
    const metadata = envelope.metadata(shown.entry);
    if (envelope.knownEntries !== 1 || metadata.authorization !== undefined) return undefined;
    return { caller: shown.caller, metadata: Object.freeze(metadata) };
  }

  #shownAnew(envelope: RequestEnvelope): CallerFacts {
    const metadata = envelope.metadata();
    const { authorization } = metadata;
    delete metadata.authorization;
    const caller = this.#callers.of(authorization);
    if (authorization !== undefined) {
      const again = this.#shown?.authorization === authorization;
      this.#shown = { authorization, caller, entry: again ? onlyEntry(envelope) : undefined };
    }
    return { caller, metadata: Object.freeze(metadata) };
  }
}

/** The bytes that show who calls; undefined if they are long, or not all that shows it. @throws MalformedError */
function onlyEntry(envelope: RequestEnvelope): Buffer | undefined {
  const entry = envelope.entryNamed("authorization");
  if (entry === undefined || entry.length > REMEMBER_ENTRY_BYTES) return undefined;
  const { authorization } = envelope.metadata(entry);
  return envelope.knownEntries === 1 && authorization === undefined ? entry : undefined;
}
