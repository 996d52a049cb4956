import { startStockServer } from "@hms/service-registry/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeKeys, writePolicies } from "./deployed.ts";
import { POLICIES, type Scene, until } from "./scene.ts";

const FOR_ALL = { service: "helloworld", allowed_roles: ["service:ledger", "service:orders", "greeter"] };
const service = "helloworld";
const request = { name: "Anna" };

/** A stock gRPC server that is registered by its address is called from every side, by whom a policy lets, as others are. */
export function stockServerTests(scene: () => Scene): void {
  describe("a stock gRPC server, registered by its address", () => {
    const stack = new AsyncDisposableStack();
    let server: Awaited<ReturnType<typeof startStockServer>>;
    let tokens: Record<string, string> = {};
    const greeted = (program: string) => scene().ask(program, { do: "call", service, method: "SayHello", request });
    const rest = (token = "") => scene().rest("/v1/helloworld/SayHello", { token, body: request });

    beforeAll(async () => {
      server = stack.use(await startStockServer({ protos: ["greeter"] }));
      const { code, stdout, stderr } = await scene().platform.cli("ffi", "register", server.address);
      expect([code, stdout, stderr]).toEqual([0, "helloworld v1\n", ""]);
      tokens = writeKeys(scene().platform, [
        { id: "anna", roles: ["greeter"] },
        { id: "ben", roles: ["visitor"] },
      ]);
    });
    afterAll(async () => {
      writePolicies(scene().platform, POLICIES);
      await scene().platform.cli("ffi", "call", "hms.ffi", "Unregister", `service_id=${service}`, "version=v1");
      await stack.disposeAsync();
    });

    test("is called by nobody whom no policy lets", async () => {
      await until(async () => (await rest(tokens.anna)).status !== 401, "the keys are in force");
      for (const program of ["ledger", "orders"]) {
        expect((await greeted(program)).error?.code).toBe("PERMISSION_DENIED");
      }
      expect((await rest(tokens.anna)).status).toBe(403);
      expect(server.metadata).toEqual([]);
    });

    test("is called from Python and TypeScript, by REST and from the command line, and sees no token", async () => {
      writePolicies(scene().platform, [...POLICIES, FOR_ALL]);
      for (const program of ["ledger", "orders"]) {
        await until(async () => (await greeted(program)).error === undefined, `${program} may call it`);
        expect((await greeted(program)).answer).toMatchObject({ message: "Hello Anna" });
      }
      const [anna, ben] = [await rest(tokens.anna), await rest(tokens.ben)];
      expect([anna.status, await anna.json(), ben.status]).toEqual([200, { message: "Hello Anna" }, 403]);
      const { code, stdout } = await scene().platform.cli("ffi", "call", service, "SayHello", "name=Anna");
      expect([code, JSON.parse(stdout)]).toEqual([0, { message: "Hello Anna" }]);
      expect(server.metadata.length).toBeGreaterThanOrEqual(4);
      const names = new Set(server.metadata.flatMap((sent) => Object.keys(sent)));
      expect([...names].filter((name) => /auth|cookie|ticket|token/i.test(name))).toEqual([]);
      expect(JSON.stringify(server.metadata)).not.toMatch(/Bearer|Ticket|[0-9a-f]{64}/);
    });
  });
}
