import { connect as connectHttp2 } from "node:http2";
import { anonymous, type Credentials } from "@hms/kernel";
import { echoKernel, type TestCertificate, testAuthority } from "@hms/testkit";
import type { TlsIdentity } from "@hms/wire";
import { afterEach, describe, expect, test } from "vitest";
import { contract, each, RpcStage, texts } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());
const authority = testAuthority();
const SERVER = "spiffe://test/env/default/svc/callee";
const CLIENT = "spiffe://test/env/default/svc/caller";
const certificates = { server: authority.issue(`URI:${SERVER}`), client: authority.issue(`URI:${CLIENT}`) };

function identity({ key, cert }: TestCertificate, ca = authority.ca): TlsIdentity {
  return { key: () => key, cert: () => cert, ca: () => ca };
}

async function served(tls: TlsIdentity = identity(certificates.server)) {
  const seen: Credentials[] = [];
  const authenticate = (credentials: Credentials) => {
    seen.push(credentials);
    return anonymous;
  };
  const kernel = echoKernel(contract, {}, { identity: { authenticate } });
  return { ...(await stage.serve({ kernel, address: "tls://127.0.0.1:0", tls })), seen };
}

describe("gRPC over TLS", () => {
  test("calls all four ways between peers who know each other by SPIFFE id", async () => {
    const { address, seen } = await served();
    const tls = { ...identity(certificates.client), expectedId: SERVER };
    const { client } = stage.connect({ address, tls, token: "t" });
    expect((await client.unary({ value: "a" })).value).toMatch(/^a /);
    expect(await texts(client.serverStream({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.clientStream(each("a", "b"))).value).toBe("a+b");
    expect(await texts(client.bidi(each("a")))).toEqual(["re: a"]);
    expect(seen[0]).toEqual({ transport: "network", peer: CLIENT, token: "t" });
    expect(new Set(seen).size).toBe(1);
  });

  test("is refused to whoever shows no certificate of the authority, and from such a server", async () => {
    const { address, http, seen } = await served();
    const stranger = testAuthority();
    const refused = async (tls: TlsIdentity & { expectedId?: string }) => {
      const error = await stage
        .connect({ address, tls })
        .client.unary({})
        .catch((thrown) => thrown);
      return error.code;
    };
    expect(await refused(identity(stranger.issue(`URI:${CLIENT}`)))).toBe("UNAVAILABLE");
    expect(await refused(identity(certificates.client, stranger.ca))).toBe("UNAUTHENTICATED");
    expect(await refused({ ...identity(certificates.client), expectedId: `${SERVER}-other` })).toBe("UNAUTHENTICATED");
    const bare = connectHttp2(http, { ca: authority.ca, checkServerIdentity: () => undefined });
    await new Promise((resolve) => bare.on("error", resolve).on("close", resolve));
    expect(seen).toEqual([]);
    expect(() => stage.connect({ address })).toThrow("certificate");
  });

  test("uses rotated certificates without a restart, on both sides", async () => {
    let now = certificates.server;
    const rotating = { key: () => now.key, cert: () => now.cert, ca: () => authority.ca };
    const { address, seen } = await served(rotating);
    let mine = certificates.client;
    const call = async (expectedId: string) => {
      const own = { key: () => mine.key, cert: () => mine.cert, ca: () => authority.ca, expectedId };
      const { client, transport } = stage.connect({ address, tls: own });
      await client.unary({});
      await transport.close();
    };
    await call(SERVER);
    now = authority.issue(`URI:${SERVER}-2`);
    mine = authority.issue(`URI:${CLIENT}-2`);
    await call(`${SERVER}-2`);
    expect(seen.map(({ peer }) => peer)).toEqual([CLIENT, `${CLIENT}-2`]);
  });
});
