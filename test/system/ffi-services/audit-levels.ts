import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { credentials, Client as Grpc, Metadata } from "@grpc/grpc-js";
import { resolveInstance } from "@hms/config";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeKeys, writePolicies } from "./deployed.ts";
import { POLICIES, type Scene, until } from "./scene.ts";

interface Recorded {
  requestId: string;
  outcome: string;
  requestJson?: string;
}

const SERVICE = "demo.ledger";
const ADD = "/demo.ledger.v1.LedgerService/Add";

/** What a policy's `audit_level` says of a user's method is what a call of it through the edge leaves in the audit log. */
export function auditLevelTests(scene: () => Scene): void {
  describe("a call through the edge, by the audit_level of its policy, leaves in the audit log", () => {
    let token = "";

    beforeAll(() => {
      token = writeKeys(scene().platform, [{ id: "ada", roles: ["auditor"] }]).ada ?? "";
    });
    afterAll(() => writePolicies(scene().platform, POLICIES));

    const rest = (method: string, requestId: string) =>
      scene().rest(`/v1/${SERVICE}/${method}`, {
        token,
        body: method === "Add" ? { numbers: [4, 5] } : {},
        headers: { "x-request-id": requestId },
      });

    function grpc(requestId: string): Promise<unknown> {
      const { instance, data } = scene().platform;
      const client = new Grpc(`unix:${resolveInstance({ instance, data }).kernelSocket}`, credentials.createInsecure());
      const metadata = new Metadata();
      metadata.set("authorization", `Bearer ${token}`);
      metadata.set("x-request-id", requestId);
      const bytes = () => Buffer.alloc(0);
      return new Promise<unknown>((resolve) => {
        client.makeUnaryRequest(ADD, bytes, bytes, {}, metadata, (error) => resolve(error?.code));
      }).finally(() => client.close());
    }

    /** Puts a level in force; the same change of the file takes Who away, which shows that it is. */
    async function inForce(level: string) {
      const [allowed, others] = [{ service: SERVICE, allowed_roles: ["service:orders", "auditor"] }, POLICIES];
      const elsewhere = others.filter(({ service }) => service !== SERVICE);
      const marker = { service: SERVICE, method: level === "none" ? "Who" : "Note", denied_roles: ["auditor"] };
      writePolicies(scene().platform, [...elsewhere, { ...allowed, audit_level: level }, marker]);
      await until(
        async () =>
          (await rest(marker.method, "marker")).status === 403 && (await rest("Add", "marker")).status === 200,
        `audit_level ${level} to be in force`,
      );
      // The callee may have heard of the change before the edge did.
      await pause(500);
    }

    /** What the log holds of these two calls, the one by REST first, once a later denial is in it. */
    async function recordedOf(level: string): Promise<(Recorded | undefined)[]> {
      await inForce(level);
      const [byRest, byGrpc, after] = [randomUUID(), randomUUID(), randomUUID()];
      expect([(await rest("Add", byRest)).status, await grpc(byGrpc)]).toEqual([200, undefined]);
      await rest(level === "none" ? "Who" : "Note", after);
      const found = async () => {
        const search = ["audit", "search", "--actor", "user:ada", "--since", "5m", "--limit", "1000"];
        const events = await scene().platform.json<Recorded[]>(...search);
        const of = (id: string) => events.find(({ requestId }) => requestId === id);
        if (of(after) === undefined) throw new Error("The denial is not in the log yet.");
        return [of(byRest), of(byGrpc)];
      };
      return until(found, "the denial to be in the audit log");
    }

    test("who did what and with which request, if full; without the request, if standard; nothing but denials, if none", async () => {
      const [restFull, grpcFull] = await recordedOf("full");
      expect(restFull).toMatchObject({ outcome: "AUDIT_OUTCOME_OK" });
      expect(JSON.parse(restFull?.requestJson ?? "null")).toEqual({ numbers: ["4", "5"] });
      expect(JSON.parse(grpcFull?.requestJson ?? "null")).toEqual({});
      expect(await recordedOf("none")).toEqual([undefined, undefined]);
      const standard = await recordedOf("standard");
      expect(standard).toMatchObject([{ outcome: "AUDIT_OUTCOME_OK" }, { outcome: "AUDIT_OUTCOME_OK" }]);
      expect(standard.map((event) => event?.requestJson ?? "")).toEqual(["", ""]);
    }, 90_000);
  });
}
