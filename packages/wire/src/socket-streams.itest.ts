import { createClient, HmsError, type ServiceImplementation } from "@hms/kernel";
import { type EchoContract, echoContract, echoKernel } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { connectSocket, serveSocket } from "./index.ts";
import { Stage, until } from "./registry-on-socket.ts";

const stage = new Stage();
afterEach(() => stage.release());
const contract = echoContract();

async function served(own: Partial<ServiceImplementation<EchoContract>> = {}) {
  const path = await stage.socketPath();
  const server = await serveSocket(echoKernel(contract, own), { path });
  stage.defer(() => server.close({ graceMs: 0 }));
  const transport = connectSocket({ path });
  stage.defer(() => transport.close());
  return createClient(contract, transport);
}

async function* each(...values: string[]): AsyncGenerator<{ value: string }> {
  for (const value of values) yield { value };
}

async function texts(messages: AsyncIterable<{ value: string }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { value } of messages) seen.push(value);
  return seen;
}

describe("streams in both directions", () => {
  test("pass every message in order, empty ones too, and end as they should", async () => {
    const client = await served();
    expect(await texts(client.bidi(each("a", "", "c")))).toEqual(["re: a", "re: ", "re: c"]);
    expect((await client.clientStream(each("a", "", "c"))).value).toBe("a++c");
    expect((await client.clientStream(each())).value).toBe("");
    expect(await texts(client.bidi(each()))).toEqual([]);
    expect(await texts(client.serverStream({ value: "" }))).toEqual([""]);
  });

  test("carry a conversation in which each side waits for the other", async () => {
    const client = await served();
    const answers: string[] = [];
    let heard = () => {};
    async function* talk() {
      for (const value of ["one", "two", "three"]) {
        const answered = new Promise<void>((resolve) => {
          heard = resolve;
        });
        yield { value };
        await answered;
      }
    }
    for await (const { value } of client.bidi(talk())) {
      answers.push(value);
      heard();
    }
    expect(answers).toEqual(["re: one", "re: two", "re: three"]);
  });

  test("hold a sender up whose reader is slow", async () => {
    let read = 0;
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const client = await served({
      async clientStream(requests) {
        for await (const _ of requests) {
          read += 1;
          if (read === 1) await gate;
        }
        return { value: String(read) };
      },
    });
    let sent = 0;
    async function* flood() {
      for (; sent < 5_000; sent += 1) yield { value: "x".repeat(1_000) };
    }
    const answer = client.clientStream(flood());
    let before = -1;
    await until(() => {
      const still = before === sent && read === 1;
      before = sent;
      return still;
    });
    expect(sent).toBeLessThan(600);
    open();
    expect((await answer).value).toBe("5000");
  });

  test("fail with the error of either side, and let go of the source", async () => {
    const client = await served({
      async clientStream(requests) {
        for await (const { value } of requests) if (value === "stop") throw new HmsError("ABORTED", "Stopped.");
        return {};
      },
    });
    let returned = false;
    async function* endless() {
      try {
        for (;;) yield { value: "stop" };
      } finally {
        returned = true;
      }
    }
    await expect(client.clientStream(endless())).rejects.toMatchObject({ code: "ABORTED" });
    await until(() => returned);
    async function* broken() {
      yield { value: "a" };
      throw new HmsError("DATA_LOSS", "The source broke.");
    }
    await expect(client.clientStream(broken())).rejects.toMatchObject({ code: "DATA_LOSS" });
  });
});
