import { type AddressInfo, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { anonymous, type Credentials, createClient, type Principal } from "@hms/kernel";
import { echoContract, echoKernel, namesLeadTo, type TestCertificate, testAuthority } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { FrameType } from "./frame.ts";
import { type ConnectFramesOptions, connectFrames, type ServerTls, serveFrames, type TlsIdentity } from "./index.ts";
import { metadataFields } from "./metadata-fields.ts";
import { frameBytes } from "./raw-peer.ts";
import { Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();
const authority = testAuthority();
const SERVER = "spiffe://test/env/default/svc/callee";
const CLIENT = "spiffe://test/env/default/svc/caller";
const certificates = { server: authority.issue(`URI:${SERVER}`), client: authority.issue(`URI:${CLIENT}`) };

function identity({ key, cert }: TestCertificate, ca = authority.ca): TlsIdentity {
  return { key: () => key, cert: () => cert, ca: () => ca };
}

async function served(address: string, tls?: ServerTls) {
  const seen: Credentials[] = [];
  const authenticate = (credentials: Credentials) => {
    seen.push(credentials);
    return anonymous;
  };
  const kernel = echoKernel(contract, {}, { identity: { authenticate } });
  const server = await serveFrames(kernel, { address, graceMs: 200, ...(tls ? { tls } : {}) });
  stage.defer(() => server.close({ graceMs: 0 }));
  return { server, seen };
}

function connected(options: ConnectFramesOptions) {
  const transport = connectFrames(options);
  stage.defer(() => transport.close());
  return { transport, client: createClient(contract, transport) };
}

async function* each(...values: string[]) {
  for (const value of values) yield { value };
}

async function texts(messages: AsyncIterable<{ value: string }>) {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}

async function allFourWays({ client }: ReturnType<typeof connected>) {
  expect((await client.unary({ value: "a" }, { timeoutMs: 10_000 })).value).toMatch(/^a id=/);
  expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
  expect((await client.clientStream(each("a", "b"))).value).toBe("a+b");
  expect(await texts(client.bidi(each("a", "b")))).toEqual(["re: a", "re: b"]);
  const large = "x".repeat(3 << 20);
  expect((await client.unary({ value: large })).value.length).toBeGreaterThan(3 << 20);
}

describe("frames over TCP on this machine", () => {
  test("carry calls in all four ways, from a caller that is nobody by its address", async () => {
    const { server, seen } = await served("tcp://127.0.0.1:0");
    expect(server.address).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
    await allFourWays(connected({ address: server.address }));
    expect(seen[0]).toEqual({ transport: "network", peer: undefined });
    await expect(served(server.address)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  });

  test("say that nobody answers, where nobody does", async () => {
    const { server } = await served("tcp://127.0.0.1:0");
    await server.close();
    await expect(connected({ address: server.address }).client.unary({})).rejects.toMatchObject({
      code: "UNAVAILABLE",
      details: { reason: "NOT_CONNECTED" },
    });
  });
});

describe("frames over TLS", () => {
  test("carry calls in all four ways between peers who know each other by SPIFFE id", async () => {
    const { server, seen } = await served("tls://127.0.0.1:0", identity(certificates.server));
    const tls = { ...identity(certificates.client), expectedId: SERVER };
    await allFourWays(connected({ address: server.address, tls }));
    expect(seen[0]).toEqual({ transport: "network", peer: CLIENT });
    expect(new Set(seen).size).toBe(1);
  });

  test("speak TLS 1.3 and hms-frames/1", async () => {
    const { server } = await served("tls://127.0.0.1:0", identity(certificates.server));
    const port = Number(server.address.split(":").at(-1));
    const common = {
      port,
      host: "127.0.0.1",
      ...certificates.client,
      ca: authority.ca,
      checkServerIdentity: () => undefined,
    };
    const outcome = (options: object) =>
      new Promise<string>((resolve) => {
        const socket = connectTls({ ...common, ...options }, () => {
          resolve(`${socket.getProtocol()} ${socket.alpnProtocol}`);
          socket.destroy();
        });
        socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      });
    expect(await outcome({ ALPNProtocols: ["hms-frames/1"] })).toBe("TLSv1.3 hms-frames/1");
    expect(await outcome({ ALPNProtocols: ["hms-frames/1"], maxVersion: "TLSv1.2" })).toContain(
      "ALERT_PROTOCOL_VERSION",
    );
    expect(await outcome({ ALPNProtocols: ["smtp"] })).toContain("NO_APPLICATION_PROTOCOL");
  });

  test("are refused to whoever shows no certificate of the authority, and from such a server", async () => {
    const { server, seen } = await served("tls://127.0.0.1:0", identity(certificates.server));
    const stranger = testAuthority();
    const foreign = stranger.issue(`URI:${CLIENT}`);
    const notKnown = connected({ address: server.address, tls: identity(foreign) });
    await expect(notKnown.client.unary({ value: "a" })).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    const notKnowing = connected({ address: server.address, tls: identity(certificates.client, stranger.ca) });
    await expect(notKnowing.client.unary({ value: "a" })).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    const another = { ...identity(certificates.client), expectedId: `${SERVER}-other` };
    await expect(connected({ address: server.address, tls: another }).client.unary({})).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      message: expect.stringContaining(`${SERVER}-other was expected`),
    });
    const port = Number(server.address.split(":").at(-1));
    const bare = connectTls({
      port,
      host: "127.0.0.1",
      ca: authority.ca,
      ALPNProtocols: ["hms-frames/1"],
      checkServerIdentity: () => undefined,
    });
    stage.defer(() => bare.destroy());
    let said = "";
    for await (const chunk of bare) said += chunk;
    expect(said).toContain("A certificate is needed");
    expect(seen).toEqual([]);
    expect(() => connectFrames({ address: server.address })).toThrow("certificate");
  });

  test("let a client come without a certificate where that is allowed, and refuse a wrong one all the same", async () => {
    const { server, seen } = await served("tls://127.0.0.1:0", {
      ...identity(certificates.server),
      clients: "optional",
    });
    const port = Number(server.address.split(":").at(-1));
    const own = { port, host: "127.0.0.1", ca: authority.ca, ALPNProtocols: ["hms-frames/1"] };
    const bare = connectTls({ ...own, checkServerIdentity: () => undefined });
    stage.defer(() => bare.destroy());
    const [service, method] = [contract.typeName, "Unary"].map((text) => Buffer.from(text)) as [Buffer, Buffer];
    const named = [Buffer.of(0x0a, service.length), service, Buffer.of(0x12, method.length), method];
    bare.write(frameBytes(1, { type: FrameType.REQUEST }, Buffer.concat(named)));
    await until(() => seen.length === 1);
    await connected({ address: server.address, tls: identity(certificates.client) }).client.unary({});
    expect(seen.map(({ peer }) => peer)).toEqual([undefined, CLIENT]);
    const foreign = identity(testAuthority().issue(`URI:${CLIENT}`));
    await expect(connected({ address: server.address, tls: foreign }).client.unary({})).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    expect(seen).toHaveLength(2);
  });

  test("keep few who have shown nothing, and none for long; who is known stays", async () => {
    const authenticate = ({ token, known }: Credentials): Principal => {
      if (token === undefined) return anonymous;
      known?.();
      return { kind: "operator", id: "operator" };
    };
    const tls = { ...identity(certificates.server), clients: "optional" } as const;
    const strangers = { most: 2, forMs: 500 };
    const kernel = echoKernel(contract, {}, { identity: { authenticate } });
    const server = await serveFrames(kernel, { address: "tls://127.0.0.1:0", tls, strangers });
    stage.defer(() => server.close({ graceMs: 0 }));
    const port = Number(server.address.split(":").at(-1));
    const bare = async (first?: Buffer) => {
      const socket = connectTls({ port, host: "127.0.0.1", ca: authority.ca, checkServerIdentity: () => undefined });
      stage.defer(() => socket.destroy());
      socket.on("error", () => {}).resume();
      await new Promise((resolve) => socket.once("secureConnect", resolve));
      if (first !== undefined) socket.write(first);
      return socket;
    };
    const callOf = (metadata: Buffer) => {
      const [service, method] = [contract.typeName, "Unary"].map((text) => Buffer.from(text)) as [Buffer, Buffer];
      const named = [Buffer.of(0x0a, service.length), service, Buffer.of(0x12, method.length), method];
      return frameBytes(1, { type: FrameType.REQUEST }, Buffer.concat([...named, metadata]));
    };
    const good = await bare(callOf(metadataFields({ authorization: "Bearer t" })));
    await new Promise((resolve) => good.once("data", resolve));
    const [first, second] = [await bare(callOf(Buffer.alloc(0))), await bare(Buffer.from([0, 0]))];
    const certified = connected({ address: server.address, tls: identity(certificates.client) });
    await certified.client.unary({});
    const third = await bare();
    await until(() => first.closed);
    await until(() => second.closed && third.closed);
    expect([good.closed, server.connections]).toEqual([false, 2]);
    expect((await certified.client.unary({ value: "a" })).value).toMatch(/^a /);
  });

  test("use rotated certificates without a restart, and keep the old one if the new one is broken", async () => {
    const failures: unknown[] = [];
    let now = certificates.server;
    const rotating = {
      key: () => now.key,
      cert: () => now.cert,
      ca: () => authority.ca,
      onFailure: (error: unknown) => failures.push(error),
    };
    const { server } = await served("tls://127.0.0.1:0", rotating);
    const callAs = async (expectedId: string) => {
      const { transport, client } = connected({
        address: server.address,
        tls: { ...identity(certificates.client), expectedId },
      });
      await client.unary({ value: "a" });
      await transport.close();
    };
    await callAs(SERVER);
    now = authority.issue(`URI:${SERVER}-2`);
    await callAs(`${SERVER}-2`);
    now = { key: "no key", cert: "no certificate" };
    await callAs(`${SERVER}-2`);
    expect(failures.length).toBeGreaterThan(0);
  });

  test("let a caller go at its deadline although the server never says a word", async () => {
    const silent: Socket[] = [];
    const server = createServer((socket) => silent.push(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stage.defer(() => {
      for (const socket of silent) socket.destroy();
      server.close();
    });
    const { port } = server.address() as { port: number };
    const { client } = connected({ address: `tls://127.0.0.1:${port}`, tls: identity(certificates.client) });
    await expect(client.unary({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const leave = new AbortController();
    const call = client.unary({}, { signal: leave.signal });
    await until(() => silent.length > 0);
    leave.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

test("a name that leads to a special network is not connected to, although somebody answers there", async () => {
  let count = 0;
  const listener = createServer((socket) => {
    count += 1;
    socket.destroy();
  }).listen(0, "0.0.0.0");
  stage.defer(() => void listener.close());
  await until(() => listener.listening);
  const { port } = listener.address() as AddressInfo;
  using _ = namesLeadTo({ "metadata.example": "0.0.0.0" });
  const { client } = connected({ address: `tls://metadata.example:${port}`, tls: identity(certificates.client) });
  await expect(client.unary({ value: "a" })).rejects.toMatchObject({
    message: expect.stringContaining("leads where no service is"),
    details: { reason: "NOT_CONNECTED" },
  });
  expect(count).toBe(0);
});
