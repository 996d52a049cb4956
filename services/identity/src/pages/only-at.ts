import type { MountHandler } from "@hms/http-edge";
import { messagePage } from "./forms.ts";
import { sendPage } from "./page.ts";

/** Serves at the platform's own host only: at others, users' services have pages that could use what is served. */
export function onlyAt(origin: string, handler: MountHandler): MountHandler {
  const { host } = new URL(origin);
  return (request, response, context) => {
    const asked = request.headers.host ?? request.headers[":authority"];
    if (typeof asked === "string" && asked.toLowerCase() === host) return handler(request, response, context);
    sendPage(response, messagePage("Not here", `People and programs come in at ${origin}.`, 421));
  };
}
