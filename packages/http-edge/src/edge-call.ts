import type { IncomingMessage } from "node:http";
import {
  AnswerFields,
  type CallContext,
  type CallSource,
  type Credentials,
  HmsError,
  type IncomingCall,
  type Metadata,
} from "@hms/kernel";
import type { EdgeTurn } from "./edge-turn.ts";
import { credentialsOf } from "./request-credentials.ts";
import { deadlineOf } from "./request-deadline.ts";
import { metadataOf } from "./request-metadata.ts";

const LONGEST_USER_AGENT = 300;

/** The client's address: its connection's or, behind a socket of this machine, what the gateway there has seen of it. */
function sourceOf({ headers, socket }: IncomingMessage): CallSource {
  const passed = headers["x-forwarded-for"];
  const address = (Array.isArray(passed) ? passed.join(",") : passed)?.split(",").at(-1)?.trim();
  return { address: socket.remoteAddress ?? address, userAgent: headers["user-agent"]?.slice(0, LONGEST_USER_AGENT) };
}

/** A request as the kernel takes it, and the handle that ends it when the client leaves. */
export class EdgeCall implements IncomingCall {
  readonly caller: { readonly credentials: Credentials };
  readonly metadata: Metadata;
  readonly deadlineAt: number | undefined;
  readonly way = "http";
  readonly source: CallSource;
  readonly #response: EdgeTurn["response"];
  readonly #readsTrailers: boolean;
  readonly #trailers = new Map<string, string>();
  #fields: AnswerFields | undefined;
  #context: CallContext | undefined;
  #ended: HmsError | undefined;

  /**
   * Takes the request's own credentials unless others are given.
   * @throws EdgeFault if the request's credentials or deadline cannot be read
   */
  constructor({ request, response, requestId, isPlatformHost, peer }: EdgeTurn, credentials?: Credentials) {
    const { headers } = request;
    this.#response = response;
    this.#readsTrailers = /(?:^|,)\s*trailers\s*(?:$|[,;])/i.test(String(headers.te));
    this.caller = { credentials: credentials ?? credentialsOf(headers, { isPlatformHost, peer }) };
    this.metadata = metadataOf(headers, requestId);
    this.deadlineAt = deadlineOf(headers);
    this.source = sourceOf(request);
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

  tell(metadata: Metadata): void {
    this.#fields ??= new AnswerFields("anybody");
    for (const [name, value] of this.#fields.of(metadata)) {
      if (this.#response.headersSent) this.#trailers.set(name, value);
      else this.#response.setHeader(name, value);
    }
    // Who has not said that it reads trailers may take them for something else (RFC 9110, section 6.5.1).
    if (this.#readsTrailers && this.#trailers.size > 0) this.#response.addTrailers(Object.fromEntries(this.#trailers));
  }

  /** Tells the handler to stop. */
  end(error: HmsError): void {
    this.#ended ??= error;
    this.#context?.end(this.#ended);
  }
}
