import { request } from "node:http";
import { connect } from "node:http2";
import { connect as netConnect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { resolveInstance } from "@hms/config";
import { beforeAll, describe, expect, test } from "vitest";
import { writeKeys } from "./deployed.ts";
import { BOTH_WAYS, type Scene, until } from "./scene.ts";

/** A stream of a deployed service that nobody reads yet. */
interface Unread {
  /** Reads on, and drops what comes. */
  read(): void;
  leave(): void;
}

type Open = (scene: Scene, service: string, token: string) => Promise<Unread>;

const NAMES: Record<string, string> = {
  "demo.orders": "demo.orders.v1.OrdersService",
  "demo.ledger": "demo.ledger.v1.LedgerService",
};

function byRest(scene: Scene, service: string, token: string): Promise<Unread> {
  const headers = {
    authorization: `Bearer ${token}`,
    "content-type": "application/json",
    accept: "application/x-ndjson",
  };
  const call = request(scene.platform.url(`/v1/${service}/Pour`), { method: "POST", headers });
  call.on("error", () => {});
  call.end("{}");
  return new Promise((resolve) => {
    call.once("response", (response) => {
      response.on("error", () => {});
      resolve({ read: () => void response.resume(), leave: () => void call.destroy() });
    });
  });
}

async function byGrpc(scene: Scene, service: string, token: string): Promise<Unread> {
  const { kernelSocket } = resolveInstance({ instance: scene.platform.instance, data: scene.platform.data });
  const session = connect("http://localhost", { createConnection: () => netConnect(kernelSocket) });
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": `/${NAMES[service]}/Pour`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5));
  return { read: () => void stream.resume(), leave: () => session.destroy() };
}

const WAYS: [string, Open][] = [
  ["REST, in lines", byRest],
  ["gRPC", byGrpc],
];

/** Messages of 64 KiB that may be on their way to one who does not read: what sockets and windows hold. */
const MOST_UNDER_WAY = 1000;

/** Who stops reading a stream through the edge stops its callee, and nothing is kept for him in between. */
export function slowReaderTests(scene: () => Scene): void {
  describe.each(BOTH_WAYS.map(([, service, callee]) => [service, callee] as const))(
    "a stream of %s without end",
    (service, callee) => {
      let token = "";
      const poured = async () =>
        (await scene().answerOf<{ poured?: number }[]>(callee, { do: "notes" })).reduce(
          (sum, note) => sum + (note?.poured ?? 0),
          0,
        );

      beforeAll(async () => {
        token = writeKeys(scene().platform, [{ id: "ada", roles: ["auditor"] }]).ada ?? "";
        const status = async () => (await scene().rest(`/v1/${service}/Add`, { token, body: { numbers: [1] } })).status;
        await until(async () => (await status()) === 200, "ada may call it");
      });

      test.each(WAYS)("by %s, stands still while nobody reads it, and goes on when somebody does", async (_, open) => {
        const before = await poured();
        const unread = await open(scene(), service, token);
        try {
          const isStill = async () => {
            const count = await poured();
            if (count === before) return false;
            // So long nothing more is sent.
            await delay(700);
            return (await poured()) === count;
          };
          await until(isStill, "the callee to stand still");
          const still = await poured();
          expect(still - before).toBeLessThan(MOST_UNDER_WAY);
          unread.read();
          await until(async () => (await poured()) > still + 100, "the callee to go on");
        } finally {
          unread.leave();
        }
      });
    },
  );
}
