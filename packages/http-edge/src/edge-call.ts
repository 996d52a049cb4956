import { type CallContext, type Credentials, HmsError, type IncomingCall, type Metadata } from "@hms/kernel";
import type { EdgeTurn } from "./edge-turn.ts";
import { credentialsOf } from "./request-credentials.ts";
import { deadlineOf } from "./request-deadline.ts";
import { metadataOf } from "./request-metadata.ts";

/** A request as the kernel takes it, and the handle that ends it when the client leaves. */
export class EdgeCall implements IncomingCall {
  readonly caller: { readonly credentials: Credentials };
  readonly metadata: Metadata;
  readonly deadlineAt: number | undefined;
  readonly way = "http";
  #context: CallContext | undefined;
  #ended: HmsError | undefined;

  /**
   * Takes the request's own credentials unless others are given.
   * @throws EdgeFault if the request's credentials or deadline cannot be read
   */
  constructor({ request, response, requestId, isPlatformHost, peer }: EdgeTurn, credentials?: Credentials) {
    const { headers } = request;
    this.caller = { credentials: credentials ?? credentialsOf(headers, { isPlatformHost, peer }) };
    this.metadata = metadataOf(headers, requestId);
    this.deadlineAt = deadlineOf(headers);
    response.once("close", () => {
      if (!response.writableEnded) this.end(new HmsError("CANCELLED", "The client left."));
    });
  }

  /** Why the call has ended; undefined while it runs. */
  get ended(): HmsError | undefined {
    return this.#ended;
  }

  attach(context: CallContext): void {
    this.#context = context;
    if (this.#ended) context.end(this.#ended);
  }

  /** Tells the handler to stop. */
  end(error: HmsError): void {
    this.#ended ??= error;
    this.#context?.end(this.#ended);
  }
}
