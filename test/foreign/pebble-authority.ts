import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request as askHttp } from "node:http";
import { request as ask, createServer, type Server } from "node:https";
import { join } from "node:path";
import { freePort, tempFolder, testAuthority, waitFor } from "@hms/testkit";
import { challengeNames, pebble } from "./foreign-tools.ts";

/** What a relay answers in the authority's place; undefined: the authority itself answers. */
type Instead = (
  path: string,
  method: string,
) => { status: number; headers?: Record<string, string>; body?: object } | "hang up" | "say nothing" | undefined;

/** Pebble, behind a relay that counts, and answers in its place where a test says so. */
export interface PebbleAuthority extends AsyncDisposable {
  directory: string;
  /** A file with the authority that its TLS is of. */
  caFile: string;
  /** The root of the certificates that it issues. */
  root(): Promise<string>;
  /** Requests by what they were for: "order-plz", "sign-me-up", "nonce-plz" … */
  counts: Map<string, number>;
  instead: Instead | undefined;
  /** Where a name leads. */
  lead(name: string, address: string): Promise<void>;
}

/** How a pebble is started. */
export interface PebbleOptions {
  /** Where it asks for proof. */
  httpPort: number;
  /** How long its certificates are good for, seconds; default 90 days. */
  validityS?: number;
  /** Of a hundred good nonces it refuses so many; default 40. */
  nonceRejectPercent?: number;
}

/** Starts one, with a name server by which every name leads to 127.0.0.1. */
export async function startPebble(options: PebbleOptions): Promise<PebbleAuthority> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(options);
    } catch (error) {
      // Others on the machine look for free ports, too.
      if (attempt === 3 || !/address already in use/.test((error as Error).message)) throw error;
    }
  }
}

async function start(options: PebbleOptions): Promise<PebbleAuthority> {
  await using stack = new AsyncDisposableStack();
  const { httpPort, validityS = 7_776_000, nonceRejectPercent = 40 } = options;
  const folder = stack.use(tempFolder());
  const [port, management, dns, dnsManagement, tlsPort] = await Promise.all(
    Array.from({ length: 5 }, () => freePort()),
  );
  const own = testAuthority();
  const { cert, key } = own.issue("DNS:localhost", "IP:127.0.0.1");
  for (const [name, text] of Object.entries({ "ca.pem": own.ca, "cert.pem": cert, "key.pem": key }))
    writeFileSync(join(folder.path, name), text);
  const at = (file: string) => join(folder.path, file);
  const config = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: at("cert.pem"),
    privateKey: at("key.pem"),
    httpPort,
    tlsPort,
    externalAccountBindingRequired: false,
    domainBlocklist: ["blocked.test"],
    retryAfter: { authz: 1, order: 1 },
    keyAlgorithm: "ecdsa",
    profiles: { default: { description: "for tests", validityPeriod: validityS } },
  };
  writeFileSync(at("config.json"), JSON.stringify({ pebble: config }));
  const none = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""];
  const names = [
    "-dnsserver",
    `127.0.0.1:${dns}`,
    "-management",
    `127.0.0.1:${dnsManagement}`,
    "-defaultIPv6",
    "",
    ...none,
  ];
  const nameServer = stack.use(running(await challengeNames(), names));
  const itself = stack.use(
    running(await pebble(), ["-config", at("config.json"), "-dnsserver", `127.0.0.1:${dns}`], {
      PEBBLE_VA_NOSLEEP: "1",
      PEBBLE_WFE_NONCEREJECT: String(nonceRejectPercent),
    }),
  );
  const authority = { counts: new Map<string, number>(), instead: undefined as Instead | undefined };
  const relay = relayTo(port ?? 0, { cert, key, ca: own.ca }, authority);
  stack.defer(() => {
    relay.closeAllConnections();
    relay.close();
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const { port: relayPort } = relay.address() as { port: number };
  const root = () => get(`https://127.0.0.1:${management}/roots/0`, own.ca);
  const hasEnded = () => [nameServer, itself].some(({ child }) => child.exitCode !== null);
  const answers = () =>
    root().then(
      () => true,
      () => hasEnded(),
    );
  await waitFor(answers, { describe: () => `pebble to answer; it said: ${itself.said()}` });
  if (hasEnded()) throw new Error(`pebble has ended: ${nameServer.said()} ${itself.said()}`);
  const ended = stack.move();
  return Object.assign(authority, {
    directory: `https://localhost:${relayPort}/dir`,
    caFile: at("ca.pem"),
    root,
    lead: (host: string, address: string) => post(dnsManagement ?? 0, "/add-a", { host, addresses: [address] }),
    [Symbol.asyncDispose]: () => ended.disposeAsync(),
  });
}

interface RunningProgram extends AsyncDisposable {
  child: ChildProcess;
  said(): string;
}

function running(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): RunningProgram {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  const ended = once(child, "close");
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
    });
  }
  return {
    child,
    said: () => said,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function relayTo(
  port: number,
  { cert, key, ca }: { cert: string; key: string; ca: string },
  authority: { counts: Map<string, number>; instead: Instead | undefined },
): Server {
  return createServer({ cert, key }, (request, response) => {
    const path = request.url ?? "/";
    const what = path.split("/")[1] ?? "";
    authority.counts.set(what, (authority.counts.get(what) ?? 0) + 1);
    const instead = authority.instead?.(path, request.method ?? "");
    if (instead === "hang up") {
      request.socket.destroy();
      return;
    }
    if (instead === "say nothing") return;
    if (instead !== undefined) {
      request.resume();
      const { status, headers = {}, body = {} } = instead;
      response.writeHead(status, { "content-type": "application/problem+json", ...headers }).end(JSON.stringify(body));
      return;
    }
    const options = {
      port,
      host: "127.0.0.1",
      path,
      ca,
      servername: "localhost",
      method: request.method,
      headers: request.headers,
    };
    const on = ask({ ...options, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    on.on("error", () => request.socket.destroy());
    request.pipe(on);
  });
}

async function get(url: string, ca: string): Promise<string> {
  const [answer] = await once(ask(url, { ca, agent: false }).end(), "response");
  let text = "";
  for await (const piece of answer.setEncoding("utf8")) text += piece;
  return text;
}

async function post(port: number, path: string, body: object): Promise<void> {
  const [answer] = await once(
    askHttp({ host: "127.0.0.1", port, path, method: "POST" }).end(JSON.stringify(body)),
    "response",
  );
  answer.resume();
  if (answer.statusCode !== 200) throw new Error(`the name server answers ${answer.statusCode}`);
}
