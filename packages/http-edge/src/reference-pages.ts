import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { HmsError } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import type { FaultTerms } from "./edge-fault.ts";
import { fault } from "./edge-fault.ts";
import type { MountContext, MountRule } from "./mounts.ts";
import { openApiDocument, servicesNamed } from "./open-api/document.ts";
import { serviceIdOf } from "./plain-routes.ts";
import { DATA_FIELDS } from "./reply.ts";
import type { RouteTable } from "./route-table.ts";
import { viewerFile } from "./viewer-files.ts";

/** Who may read the reference: whoever may list services. */
export const REFERENCE_RULE: MountRule = {
  permission: "registry:read",
  auditLevel: "none",
  mutates: false,
  browser: true,
};

/** A document of more services than this is of use to nobody. */
const MOST_SERVICES = 1000;

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reference</title>
<link rel="stylesheet" href="viewer.css">
<div id="viewer"></div>
<script src="viewer.js"></script>
<script src="start.js"></script>
</html>
`;

// The viewer's own check of documents asks a public server; there is no such thing here. The whole address works also
// where the page's own carries a password, which fetch refuses.
const START = `SwaggerUIBundle({
  url: location.origin + "/docs/openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  validatorUrl: null,
  queryConfigEnabled: false,
});
`;

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

interface Page {
  readonly body: string | Buffer;
  readonly type: string;
  /** Further fields, names and values in turn. */
  readonly fields?: readonly string[];
}

/** The OpenAPI documents of an edge and the page that shows them. */
export class ReferencePages {
  readonly #tableOf: (environment: string) => RouteTable;
  readonly #title: string;
  readonly #documents = new WeakMap<RouteTable, Map<string, string>>();

  constructor(tableOf: (environment: string) => RouteTable, title: string) {
    this.#tableOf = tableOf;
    this.#title = title;
  }

  /** Answers below /docs: the page, its viewer, its document. */
  readonly docs = async (request: IncomingMessage, response: ServerResponse, context: MountContext): Promise<void> => {
    checkMethod(request);
    if (context.path === "") {
      const fields = ["location", "/docs/", "x-request-id", context.requestId, "x-content-type-options", "nosniff"];
      response.writeHead(308, [...fields, ...DATA_FIELDS, "content-length", "0"]).end();
      return;
    }
    const name = context.path.slice(1);
    send(request, response, { ...(await this.#page(name, context)), requestId: context.requestId });
  };

  async #page(name: string, { environment }: MountContext): Promise<Page> {
    if (name === "")
      return { body: PAGE, type: "text/html; charset=utf-8", fields: ["content-security-policy", POLICY] };
    if (name === "start.js") return { body: START, type: "text/javascript; charset=utf-8" };
    if (name === "openapi.json") return { body: this.#document(environment, ""), type: "application/json" };
    const file = await viewerFile(name);
    if (file === undefined) throw fault("NOT_FOUND", `The reference page has no file "${name}".`);
    return file;
  }

  /** Answers /openapi.json and /openapi/SERVICE.json. */
  readonly openApi = (request: IncomingMessage, response: ServerResponse, context: MountContext): void => {
    checkMethod(request);
    const name = context.path === "" ? "" : (/^\/([A-Za-z0-9._]+)\.json$/.exec(context.path)?.[1] ?? "?");
    const body = this.#document(context.environment, name);
    send(request, response, { body, type: "application/json", requestId: context.requestId });
  };

  #document(environment: string, name: string): string {
    const table = this.#tableOf(environment);
    const documents = this.#documents.get(table) ?? new Map<string, string>();
    this.#documents.set(table, documents);
    const text = documents.get(name) ?? this.#write(table, environment, name);
    documents.set(name, text);
    return text;
  }

  #write({ services, conflicts }: RouteTable, environment: string, name: string): string {
    const chosen = name === "" ? services : servicesNamed(services, name);
    if (chosen.length === 0 && name !== "") throw unknownService(name, services);
    if (chosen.length > MOST_SERVICES) {
      throw new HmsError(
        "FAILED_PRECONDITION",
        `${chosen.length} services are too many for one document. Ask for one service: /openapi/SERVICE.json`,
      );
    }
    const title = name === "" ? this.#title : `${this.#title}: ${name}`;
    return JSON.stringify(openApiDocument({ services: chosen, environment, conflicts, title }));
  }
}

function unknownService(name: string, services: RouteTable["services"]): HmsError {
  const known = services.flatMap((service) => [serviceIdOf(service).id, service.typeName]);
  const nearest = nearestName(name, known);
  const advice = nearest === undefined ? "" : ` Did you mean "${nearest}"?`;
  return new HmsError("NOT_FOUND", `There is no service "${name}".${advice}`);
}

function checkMethod({ method }: IncomingMessage): void {
  if (method === "GET" || method === "HEAD") return;
  const terms: FaultTerms = { status: 405, reason: "METHOD_NOT_ALLOWED", headers: { allow: "GET, HEAD" } };
  throw fault("UNIMPLEMENTED", "This path takes GET, HEAD.", terms);
}

function send(request: IncomingMessage, response: ServerResponse, page: Page & { requestId: string }): void {
  const { body, type, fields = [], requestId } = page;
  const etag = `"${hash("sha256", body, "base64url")}"`;
  const all = ["x-request-id", requestId, "etag", etag, "cache-control", "private, no-cache", ...fields];
  if (type === "application/json") all.push(...DATA_FIELDS);
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304, all).end();
    return;
  }
  all.push("content-type", type, "x-content-type-options", "nosniff", "referrer-policy", "no-referrer");
  all.push("content-length", String(Buffer.byteLength(body)));
  response.writeHead(200, all).end(request.method === "HEAD" ? undefined : body);
}
