import type { IncomingMessage } from "node:http";
import type { MountHandler } from "@hms/http-edge";
import { messagePage } from "./forms.ts";
import { sendPage } from "./page.ts";

/**
 * Serves at the platform's own host only: at others, users' services have pages that could use what is served. Who asks
 * elsewhere is not told where that host is: services must not know. What `isForPrograms` says needs no browser is served
 * everywhere.
 */
export function onlyAt(
  origin: string,
  handler: MountHandler,
  isForPrograms: (request: IncomingMessage, path: string) => boolean = () => false,
): MountHandler {
  const { host } = new URL(origin);
  return (request, response, context) => {
    const asked = request.headers.host ?? request.headers[":authority"];
    const isHere = typeof asked === "string" && asked.toLowerCase() === host;
    if (isHere || isForPrograms(request, context.path)) return handler(request, response, context);
    const where = "People come in at an address that hms-sys up and hms-sys login print.";
    sendPage(response, messagePage("Not here", where, 421));
  };
}

/**
 * Whether a program asks for its own tokens, by its own secret: nothing of that needs a browser or its cookies, so
 * deployed services can do it without knowing the platform's own host.
 */
export function isProgramsOwn({ method, headers }: IncomingMessage, path: string): boolean {
  return method === "POST" && path === "/token" && /^basic /i.test(headers.authorization ?? "");
}
