import { credentials, Client as Grpc, Metadata } from "@grpc/grpc-js";
import { resolveInstance } from "@hms/config";
import { beforeAll, describe, expect, test } from "vitest";
import { writeKeys } from "./deployed.ts";
import { type Scene, until } from "./scene.ts";

/** People who are not the operator call methods of deployed services as far as policies let them. */
export function edgeCallerTests(scene: () => Scene): void {
  describe("a person with a key", () => {
    let tokens: Record<string, string> = {};
    const services = ["demo.ledger", "demo.orders"] as const;
    const rest = (service: string, token = "") =>
      scene().rest(`/v1/${service}/Add`, { token, body: { numbers: [4, 5] } });

    beforeAll(async () => {
      const people = [
        { id: "ada", roles: ["auditor"] },
        { id: "ben", roles: ["visitor"] },
      ];
      tokens = writeKeys(scene().platform, people);
      await until(async () => (await rest("demo.ledger", tokens.ada)).status === 200, "the keys are in force");
    });

    test.each(services)("calls %s by REST if a policy lets that role, and gets 403 otherwise", async (service) => {
      const [ada, ben, nobody] = [
        await rest(service, tokens.ada),
        await rest(service, tokens.ben),
        await rest(service),
      ];
      expect([ada.status, Number(((await ada.json()) as { sum: string }).sum)]).toEqual([200, 9]);
      expect([ben.status, nobody.status]).toEqual([403, 401]);
      expect(await ben.json()).toMatchObject({ error: { status: "PERMISSION_DENIED" } });
    });

    test.each(services)(
      "calls %s by gRPC if a policy lets that role, and is PERMISSION_DENIED otherwise",
      async (service) => {
        const path = `/${service}.v1.${service === "demo.ledger" ? "Ledger" : "Orders"}Service/Add`;
        expect(await byGrpc(path, tokens.ada)).toBe("OK");
        expect(await byGrpc(path, tokens.ben)).toBe("7");
        expect(await byGrpc(path, "nobody")).toBe("16");
      },
    );

    /** "OK", or the number of the code that a call with an empty request ends with. */
    async function byGrpc(path: string, token = ""): Promise<string> {
      const { kernelSocket } = resolveInstance({ instance: scene().platform.instance, data: scene().platform.data });
      const grpc = new Grpc(`unix:${kernelSocket}`, credentials.createInsecure());
      const metadata = new Metadata();
      metadata.set("authorization", `Bearer ${token}`);
      const none = () => Buffer.alloc(0);
      try {
        return await new Promise<string>((resolve) => {
          grpc.makeUnaryRequest(path, none, none, {}, metadata, (error) => resolve(error ? String(error.code) : "OK"));
        });
      } finally {
        grpc.close();
      }
    }
  });
}
