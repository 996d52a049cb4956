import { connect } from "node:http2";
import { connect as netConnect } from "node:net";
import { resolveInstance } from "@hms/config";
import { beforeAll, describe, expect, test } from "vitest";
import { writeKeys } from "./deployed.ts";
import { BOTH_WAYS, type Scene, until } from "./scene.ts";

/** How a stream of a deployed service is read through the edge: what has come, how it ended, and leaving it. */
interface Reading {
  readonly text: () => string;
  readonly ended: Promise<void>;
  readonly leave: () => void;
}

type Read = (scene: Scene, service: string, token: string) => Promise<Reading>;

const NAMES: Record<string, string> = {
  "demo.orders": "demo.orders.v1.OrdersService",
  "demo.ledger": "demo.ledger.v1.LedgerService",
};

async function byRest(accept: string, scene: Scene, service: string, token: string): Promise<Reading> {
  const leaving = new AbortController();
  const headers = { accept };
  const options = { token, body: {}, headers, signal: leaving.signal };
  const response = await scene.rest(`/v1/${service}/Drip`, options);
  let text = "";
  const ended = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
  })().catch(() => {});
  return { text: () => text, ended, leave: () => leaving.abort() };
}

/** gRPC by hand over HTTP/2: the untyped request is empty, and what counts is the trailers. */
async function byGrpc(scene: Scene, service: string, token: string): Promise<Reading> {
  const { kernelSocket } = resolveInstance({ instance: scene.platform.instance, data: scene.platform.data });
  const session = connect("http://localhost", { createConnection: () => netConnect(kernelSocket) });
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": `/${NAMES[service]}/Drip`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  let text = "";
  const note = (headers: Record<string, unknown>) => {
    if (headers["grpc-status"] !== undefined) text += `grpc-status ${headers["grpc-status"]}`;
  };
  stream.on("data", () => {
    text += '"n"';
  });
  stream.on("trailers", note);
  stream.on("response", note);
  stream.on("error", () => {});
  const ended = new Promise<void>((resolve) => stream.once("close", resolve));
  void ended.then(() => session.close());
  stream.end(Buffer.alloc(5));
  return { text: () => text, ended, leave: () => stream.close(8) };
}

const WAYS: [string, Read, RegExp][] = [
  ["REST, in lines", (...call) => byRest("application/x-ndjson", ...call), /UNAVAILABLE/],
  ["REST, as events", (...call) => byRest("text/event-stream", ...call), /event: error.*UNAVAILABLE/s],
  ["gRPC", byGrpc, /grpc-status 14/],
];

/** A stream through the edge ends with its callee, and its callee hears when the reader has left. */
export function edgeFaultTests(scene: () => Scene): void {
  describe.each(BOTH_WAYS.map(([, service, callee]) => [service, callee] as const))(
    "a stream of %s",
    (service, callee) => {
      let token = "";
      const count = async (what: string) =>
        (await scene().answerOf<unknown[]>(callee, { do: "notes" })).filter((note) => note === what).length;

      beforeAll(async () => {
        token = writeKeys(scene().platform, [{ id: "ada", roles: ["auditor"] }]).ada ?? "";
        const path = `/v1/${service}/Add`;
        const status = async () => (await scene().rest(path, { token, body: { numbers: [1] } })).status;
        await until(async () => (await status()) === 200, "ada may call it");
      });

      test.each(WAYS)("by %s, that its reader leaves is ended in the callee", async (_, read) => {
        const ends = await count("drip ends");
        const reading = await read(scene(), service, token);
        await until(async () => reading.text().includes('"n"'), "the first message");
        reading.leave();
        await until(async () => (await count("drip ends")) === ends + 1, "the callee hears that nobody reads");
        await reading.ended;
      });

      test("ends as UNAVAILABLE for every reader when its callee is killed", async () => {
        const readings = await Promise.all(WAYS.map(([, read]) => read(scene(), service, token)));
        for (const { text } of readings) await until(async () => text().includes('"n"'), "the first message");
        await scene().killReplica(callee, { wait: false });
        await Promise.all(readings.map(({ ended }) => ended));
        for (const [at, [, , error]] of WAYS.entries()) expect(readings[at]?.text()).toMatch(error);
        await scene().running(callee);
      }, 90_000);
    },
  );
}
