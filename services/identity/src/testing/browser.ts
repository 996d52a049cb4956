import { request } from "node:http";

/** What a page or endpoint answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** The address of the last request. */
  readonly url: string;
}

interface Cookie {
  readonly value: string;
  readonly path: string;
}

/** Visits pages as a browser without scripts does: cookies by path, redirects, forms. `*.localhost` is this machine. */
export class Browser {
  readonly cookies = new Map<string, Cookie>();
  /** Redirects to other places than the platform end here. */
  landed: string | undefined;
  /** The status of every redirect until now. */
  readonly redirects: number[] = [];
  readonly #origin: string;
  readonly #port: number;

  /** At this origin; of several processes behind it the one at `port`, default the origin's. */
  constructor(origin: string, port = Number(new URL(origin).port)) {
    this.#origin = origin;
    this.#port = port;
  }

  get(path: string): Promise<Answer> {
    return this.#visit("GET", path);
  }

  /** Sends the form of a page, with its hidden fields. */
  submit({ body, url }: Answer, fields: Record<string, string>, form = 0): Promise<Answer> {
    const [, attributes = "", inside = ""] = [...body.matchAll(/<form([^>]*)>(.*?)<\/form>/gs)][form] ?? [];
    const action = /action="([^"]*)"/.exec(attributes)?.[1] ?? url;
    const hidden = [...inside.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([input]) => [
      /name="([^"]*)"/.exec(input)?.[1] ?? "",
      /value="([^"]*)"/.exec(input)?.[1] ?? "",
    ]);
    return this.#visit(
      "POST",
      action.replaceAll("&amp;", "&"),
      new URLSearchParams({ ...Object.fromEntries(hidden), ...fields }),
    );
  }

  async #visit(method: string, path: string, form?: URLSearchParams): Promise<Answer> {
    const answer = await this.fetch(method, path, form);
    const { location } = answer.headers;
    if (answer.status < 300 || answer.status > 399 || typeof location !== "string") return answer;
    this.redirects.push(answer.status);
    const next = new URL(location, new URL(path, this.#origin));
    if (next.origin !== this.#origin || next.pathname === "/console/callback") {
      this.landed = next.href;
      return answer;
    }
    return this.#visit("GET", `${next.pathname}${next.search}`);
  }

  /** One request, without following anything. */
  fetch(method: string, path: string, form?: URLSearchParams, headers: Record<string, string> = {}): Promise<Answer> {
    const url = new URL(path, this.#origin);
    const cookie = [...this.cookies]
      .filter(([, { path: below }]) => url.pathname.startsWith(below))
      .map(([name, { value }]) => `${name}=${value}`)
      .join("; ");
    const sent = {
      host: url.host,
      "sec-fetch-site": "same-origin",
      ...(cookie === "" ? {} : { cookie }),
      ...(form === undefined ? {} : { origin: url.origin, "content-type": "application/x-www-form-urlencoded" }),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port: this.#port,
        path: `${url.pathname}${url.search}`,
        method,
        headers: sent,
      };
      request(options, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => {
          body += text;
        });
        response.on("end", () => {
          for (const line of response.headers["set-cookie"] ?? []) this.#keep(line);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body, url: url.href });
        });
        response.on("error", reject);
      })
        .on("error", reject)
        .end(form?.toString());
    });
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(/; */);
    const [name = "", value = ""] = pair.split(/=(.*)/s);
    const path = attributes.find((one) => /^path=/i.test(one))?.slice(5) ?? "/";
    const expired = attributes.some((one) => /^max-age=0$/i.test(one) || /^expires=Thu, 01 Jan 1970/i.test(one));
    if (expired || value === "") this.cookies.delete(name);
    else this.cookies.set(name, { value, path });
  }
}

/** A fetch that knows `*.localhost`, for libraries that take one. */
export const localFetch = fetchAt();

/** A fetch that asks the process at a port, whatever the address says; default the address's port. */
export function fetchAt(port?: number) {
  return (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    return fetchThere(url, port ?? Number(url.port), init);
  };
}

function fetchThere(address: URL, port: number, init?: RequestInit): Promise<Response> {
  const url = new URL(address);
  const { host } = url;
  url.hostname = "127.0.0.1";
  url.port = String(port);
  const headers = new Headers(init?.headers);
  const body = init?.body === undefined || init.body === null ? undefined : String(init.body);
  return new Promise((resolve, reject) => {
    const sent = {
      ...Object.fromEntries(headers),
      host,
      ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
    };
    request(url, { method: init?.method ?? "GET", headers: sent }, (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("end", () => {
        const fields = Object.entries(response.headers).flatMap(([name, value]) =>
          typeof value === "string" ? [[name, value] as [string, string]] : [],
        );
        const status = response.statusCode ?? 500;
        resolve(
          new Response(status === 204 || pieces.length === 0 ? null : Buffer.concat(pieces), {
            status,
            headers: fields,
          }),
        );
      });
    })
      .on("error", reject)
      .end(body);
  });
}
