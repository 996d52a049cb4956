import type { IncomingMessage, ServerResponse } from "node:http";
import type { Credentials } from "@hms/kernel";

/** One request being answered, with what is known of it before it is routed. */
export interface EdgeTurn {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** As it was sent. */
  readonly path: string;
  /** Without "?"; empty if there is none. */
  readonly query: string;
  readonly environment: string;
  /** Whether the platform's own host was asked, at which no user's service has pages. */
  readonly isPlatformHost: boolean;
  /** What the client's connection has shown by itself. */
  readonly peer: Pick<Credentials, "peer" | "known">;
  /** The origin of a foreign page that may read the answer. */
  readonly foreignOrigin: string | undefined;
}

/** Path and query of a request target; undefined if it is neither a path nor an absolute address. */
export function splitTarget(url: string): { path: string; query: string } | undefined {
  let target = url;
  if (url.charCodeAt(0) !== 47) {
    const rest = /^https?:\/\/[^/?#]+([/?].*)?$/i.exec(url);
    if (rest === null) return undefined;
    target = rest[1] === undefined ? "/" : rest[1].startsWith("/") ? rest[1] : `/${rest[1]}`;
  }
  const query = target.indexOf("?");
  return query < 0 ? { path: target, query: "" } : { path: target.slice(0, query), query: target.slice(query + 1) };
}
