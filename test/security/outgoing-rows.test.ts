import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { resolveInstance } from "@hms/config";
import { identityCredentials } from "@hms/contracts";
import { connectHttp } from "@hms/direct-calls";
import { connectGrpc } from "@hms/grpc";
import { narrowOutgoing, OutgoingHosts } from "@hms/kernel";
import { connectionSource, openAdmin } from "@hms/postgres";
import { createSmtpMailer } from "@hms/provider-smtp";
import { tempFolder } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisLink } from "../../apps/dataplane/src/limits/redis-link.ts";
import { httpsExchange } from "../../packages/acme/src/https-exchange.ts";
import { UpstreamConnection, type UpstreamUser } from "../../packages/proxy/src/upstream-connection.ts";
import { outgoingAgent } from "../../packages/telemetry/src/outgoing-agent.ts";
import { dial } from "../../packages/wire/src/dial.ts";
import { CheckpointSink } from "../../services/communication/src/audit/checkpoint-sink.ts";
import { askWebhook } from "../../services/deployment/src/gates/ask-webhook.ts";
import { postWebhook } from "../../services/deployment/src/gates/post-webhook.ts";
import { carefulFetch } from "../../services/identity/src/outside/careful-fetch.ts";

/** Connects to port 1 of a host as the platform would for this row; rejects with why it could not, or answers that. */
type Probe = (host: string) => Promise<unknown>;

const { signal } = new AbortController();
const identify = identityCredentials.CredentialService.method.identify;

const frames: Probe = (host) => dial({ address: { kind: "tcp", host, port: 1 } }, signal);
const http: Probe = (host) => connectHttp({ address: `http://${host}:1` }).unary(identify, {});
async function grpc(host: string): Promise<unknown> {
  await using transport = connectGrpc({ address: `grpc://${host}:1` });
  return await transport.unary(identify, {} as never);
}
const called: readonly Probe[] = [frames, http, grpc];

const upstream: Probe = (host) =>
  new Promise((resolve) => {
    const user = { onUpstreamFailure: (_: unknown, reason: string) => resolve(reason) } as unknown as UpstreamUser;
    new UpstreamConnection({ host, port: 1, onConnectionGone() {} }, user, 1024);
  });

const webhook: Probe = (host) => {
  const question = { url: `http://${host}:1/` } as Parameters<typeof askWebhook>[0];
  return askWebhook(question, {} as Parameters<typeof askWebhook>[1], { timeoutMs: 5000, signal });
};

const hook: Probe = (host) =>
  postWebhook({ url: `http://${host}:1/`, content: {}, agent: "hook", timeoutMs: 5000 }, signal);

async function mail(host: string): Promise<void> {
  using folder = tempFolder();
  const file = `${folder.path}/mail.json`;
  writeFileSync(file, JSON.stringify({ server: `smtps://${host}:1`, from: "ops@example.org" }), { mode: 0o600 });
  await createSmtpMailer(file).send({ to: "anna@example.org", subject: "x", text: "x" });
}

async function redis(host: string): Promise<unknown> {
  await using link = new RedisLink(`redis://${host}:1`);
  const run = () => link.run({ text: "", digest: "" }, "key", []).catch((error: Error) => error.cause);
  return await expect.poll(run, { interval: 5, timeout: 5000 }).toBeDefined().then(run);
}

const sink: Probe = (host) =>
  new Promise((resolve) => {
    const place = new CheckpointSink({ url: `http://${host}:1/`, sent: async () => {}, failed: resolve });
    place.offer(1, "x");
    void place.stop();
  });

async function database(host: string): Promise<void> {
  using folder = tempFolder();
  const paths = resolveInstance({ data: folder.path });
  await using _ = await openAdmin(connectionSource(paths, `postgres://hms:secret@${host}:1/hms`));
}

const collector: Probe = (host) =>
  new Promise((resolve) => {
    const agent = outgoingAgent("http:");
    request({ host, port: 1, agent }).on("error", resolve).end();
  });

const probes: Readonly<Record<string, readonly Probe[]>> = {
  "RegisterRequest.address": called,
  "RegisterRequest.alternative_addresses": called,
  "RegisterForeignRequest.address": [grpc],
  "Endpoint.host": [upstream],
  "MeshServiceEntry.endpoints": [upstream],
  "PutIdentityProviderRequest.issuer": [(host) => carefulFetch(`https://${host}:1/`, { method: "GET" } as never)],
  "manifest gates.webhook": [webhook],
  "manifest hooks.before_deploy.webhook": [hook],
  "manifest hooks.before_traffic.webhook": [hook],
  "manifest hooks.after_deploy.webhook": [hook],
  "manifest hooks.on_failure.webhook": [hook],
  "mail.json": [mail],
  HMS_REDIS_URL: [redis],
  HMS_AUDIT_SINK: [sink],
  DATABASE_URL: [database],
  OTEL_EXPORTER_OTLP_ENDPOINT: [collector],
  "--at": [frames],
  "acme.json": [
    (host) => httpsExchange({ ca: undefined, userAgent: "x", signal })({ method: "GET", url: `https://${host}:1/` }),
  ],
};

const page = readFileSync(new URL("../../docs/security/addresses.md", import.meta.url), "utf8");
const rows = (page.split("## Fields that only")[0] ?? "")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| What"))
  .map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
const namesOf = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
/** What is named beside the fields themselves. */
const BESIDE = new Set(["SetService", "directory"]);
const narrowed = rows
  .filter((row) => row[4] === "yes" && row[0] !== "the same")
  .flatMap((row) => namesOf(row[0]))
  .filter((name) => !BESIDE.has(name));

/** What went wrong, with all that led to it. */
async function whyNot(probe: Probe, host: string): Promise<string> {
  let found = await probe(host).catch((error: unknown) => error);
  const told: string[] = [];
  for (; found instanceof Error; found = found.cause) {
    told.push(found.message, String((found as NodeJS.ErrnoException).code));
    if (found instanceof AggregateError) told.push(...found.errors.map(String));
  }
  return [...told, JSON.stringify(found)].join(" ");
}

test("every row says whether it is narrowed, or why not, and every one that is has been tried below", () => {
  expect(rows.length).toBeGreaterThan(15);
  expect(rows.filter((row) => row.length !== 5 || !/^(?:yes|no: .{10,})$/.test(row[4] ?? ""))).toEqual([]);
  expect(narrowed.toSorted()).toEqual(Object.keys(probes).toSorted());
});

describe.each(Object.entries(probes))("%s", (_, ways) => {
  let open: Disposable;
  beforeAll(() => {
    open = narrowOutgoing(() => new OutgoingHosts(["hooks.example.org", "198.51.100.0/24"]));
  });
  afterAll(() => open[Symbol.dispose]());

  test.each(["203.0.113.7", "unlisted.invalid", "hooks.example.org.unlisted.invalid"])(
    "leads nowhere that the operator's list has not: %s",
    async (host) => {
      for (const way of ways) expect(await whyNot(way, host)).toMatch(/outgoing\.json|ENOTOUTGOING/);
    },
  );

  test("reaches this machine, whatever the list says", async () => {
    for (const way of ways) expect(await whyNot(way, "127.0.0.1")).toContain("ECONNREFUSED");
  });
});
