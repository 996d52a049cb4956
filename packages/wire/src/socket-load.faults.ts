import { connect, createServer, type Socket } from "node:net";
import { createClient, type ServiceImplementation } from "@hms/kernel";
import { type EchoContract, echoContract, echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { connectFrames, connectSocket, serveFrames, serveSocket } from "./index.ts";
import { RawPeer } from "./raw-peer.ts";
import { Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();
const MIB = 1 << 20;

async function served(own: Partial<ServiceImplementation<EchoContract>> = {}) {
  const path = await stage.socketPath();
  const server = await serveSocket(echoKernel(contract, own), { path, graceMs: 200 });
  stage.defer(() => server.close({ graceMs: 0 }));
  const transport = connectSocket({ path });
  stage.defer(() => transport.close());
  return { server, client: createClient(contract, transport) };
}

/** How far memory has grown at most since it was last asked to begin. */
class MemoryWatch {
  readonly #before = process.memoryUsage().rss;
  #most = 0;

  look(): void {
    this.#most = Math.max(this.#most, process.memoryUsage().rss - this.#before);
  }

  get grownMib(): number {
    return this.#most / MIB;
  }
}

const CHUNK = "x".repeat(MIB / 4);

describe("128 MiB in one stream", () => {
  test.each(["down", "up"])("go %s without filling the memory", async (direction) => {
    let memory = new MemoryWatch();
    let received = 0;
    async function* flood(chunks: number) {
      for (let n = 0; n < chunks; n += 1) {
        if (n % 16 === 0) memory.look();
        yield { value: CHUNK };
      }
    }
    const { client } = await served({
      serverStream: ({ value }) => flood(Number(value)),
      async clientStream(requests) {
        for await (const { value } of requests) received += value.length;
        return { value: "" };
      },
    });
    const pass = async (chunks: number) => {
      if (direction === "up") await client.clientStream(flood(chunks));
      else for await (const { value } of client.serverStream({ value: String(chunks) })) received += value.length;
    };
    await pass(128);
    memory = new MemoryWatch();
    received = 0;
    await pass(512);
    expect(received).toBe(512 * CHUNK.length);
    // Both ends and their garbage are in this process, which has had its share of it before.
    expect(memory.grownMib).toBeLessThan(64);
  });
});

describe("five hundred idle connections", () => {
  test("cost little memory and are no hindrance to others", async () => {
    const { server, client } = await served();
    await client.unary({ value: "warm" });
    const memory = new MemoryWatch();
    const idle = await Promise.all(Array.from({ length: 500 }, () => RawPeer.to(server.path)));
    stage.defer(() => {
      for (const { socket } of idle) socket.destroy();
    });
    await until(() => server.connections === 501);
    memory.look();
    // Each has two ends here.
    expect(memory.grownMib).toBeLessThan(50);
    const calls = Array.from({ length: 200 }, (_, n) => client.unary({ value: String(n) }, { timeoutMs: 5_000 }));
    expect(await Promise.all(calls)).toHaveLength(200);
  });
});

describe("a network that swallows everything", () => {
  /** Passes bytes on between a client and a server until told to swallow them. */
  async function tunnelTo(port: number) {
    const ends: Socket[] = [];
    let open = true;
    const tunnel = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      ends.push(near, far);
      near.on("data", (chunk) => open && far.write(chunk)).on("error", () => {});
      far.on("data", (chunk) => open && near.write(chunk)).on("error", () => {});
    });
    await new Promise<void>((resolve) => tunnel.listen(0, "127.0.0.1", resolve));
    stage.defer(() => {
      for (const end of ends) end.destroy();
      tunnel.close();
    });
    const swallow = () => {
      open = false;
    };
    return { address: `tcp://127.0.0.1:${(tunnel.address() as { port: number }).port}`, swallow };
  }

  test("is found out by a client that waits, which calls again on a new connection", async () => {
    let hanging = 0;
    const kernel = echoKernel(contract, {
      unary: ({ value }) => {
        if (value !== "hang") return { value };
        hanging += 1;
        return new Promise(() => {});
      },
    });
    const server = await serveFrames(kernel, { address: "tcp://127.0.0.1:0", graceMs: 0 });
    stage.defer(() => server.close());
    const { address, swallow } = await tunnelTo(Number(server.address.split(":").at(-1)));
    const transport = connectFrames({ address, keepAliveMs: 50 });
    stage.defer(() => transport.close());
    const client = createClient(contract, transport);
    await client.unary({ value: "a" });
    const call = client.unary({ value: "hang" }).catch((error) => error);
    await until(() => hanging === 1);
    swallow();
    expect(await call).toMatchObject({ code: "UNAVAILABLE", details: { reason: "CONNECTION_LOST" } });
    expect(transport.connected).toBe(false);
  });
});
