import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startStockServer } from "@hms/service-registry/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { configOf, writePolicies } from "./deployed.ts";
import { POLICIES, type Scene, until } from "./scene.ts";

interface Relayed {
  trace: string;
  below: { trace: string; below: string };
}

/** A call through programs of two languages, the edge and a server that knows nothing of us is one trace. */
export function oneTraceTests(scene: () => Scene): void {
  describe("a call by REST that goes on to TypeScript, Python, and through the edge to a stock gRPC server", () => {
    const stack = new AsyncDisposableStack();
    let server: Awaited<ReturnType<typeof startStockServer>>;

    beforeAll(async () => {
      server = stack.use(await startStockServer({ protos: ["greeter"] }));
      expect(await scene().platform.cli("ffi", "register", server.address)).toMatchObject({ code: 0 });
      writePolicies(scene().platform, [...POLICIES, { service: "helloworld", allowed_roles: ["service:ledger"] }]);
    });
    afterAll(async () => {
      writePolicies(scene().platform, POLICIES);
      await stack.disposeAsync();
    });

    const relay = (name: string, traceparent: string) => {
      const { token } = configOf(scene().platform);
      return scene().rest("/v1/demo.orders/Relay", { token, body: { name }, headers: { traceparent } });
    };
    const newTrace = () => {
      const traceId = randomBytes(16).toString("hex");
      return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01` };
    };

    test("has one trace id everywhere, and in the log lines of both programs", async () => {
      const { traceId, traceparent } = newTrace();
      await until(async () => (await relay("Anna", traceparent)).status === 200, "the relay may be called");
      const sentBefore = server.metadata.length;
      const relayed = (await (await relay("Anna", traceparent)).json()) as Relayed;
      expect(relayed.below.below).toBe("Hello Anna");
      const sent = server.metadata.slice(sentBefore).map(({ traceparent: seen }) => String(seen));
      for (const seen of [relayed.trace, relayed.below.trace, ...sent]) expect(seen.split("-")[1]).toBe(traceId);
      expect(sent).toHaveLength(1);
      for (const program of ["orders", "ledger"]) {
        const lines = async () => (await scene().platform.cli("logs", program, "--grep", `${program} relays`)).stdout;
        await until(async () => (await lines()).includes(traceId), `${program}'s log line with the trace id`);
      }
    });

    test("is found by its trace id in the platform's log when it fails by somebody's fault", async () => {
      const { traceId, traceparent } = newTrace();
      expect((await relay("broken", traceparent)).status).toBe(500);
      const log = () => readFileSync(join(scene().platform.data, "logs", "server.log"), "utf8");
      await until(async () => log().includes(traceId), "the server's log line");
      const line = log()
        .split("\n")
        .find((one) => one.includes(traceId));
      expect(JSON.parse(line ?? "{}")).toMatchObject({ level: "error", traceId, message: "a call failed" });
    });
  });
}
