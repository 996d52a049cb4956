import { integrationOperations } from "@hms/contracts";
import type { CallContext, Principal } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterEach, describe, expect, test } from "vitest";
import { anna, clearScene, idOf, lookup, openDatabase, otto, scene, serve } from "../testing/operation-scene.ts";

const { OperationState } = integrationOperations;

afterEach(clearScene);

describe("an operation", () => {
  test("of one principal, or its callback, does not wait for another's that hang", async () => {
    const release = Promise.withResolvers<void>();
    const heard: string[] = [];
    const { as } = await serve(
      await openDatabase(),
      {
        lookup: async ({ serviceId }) => {
          if (serviceId === "hangs") await release.promise;
          return {};
        },
        list: async (_, { principal }) => {
          if (principal.id === "otto") await release.promise;
          heard.push(principal.id);
          return {};
        },
      },
      { concurrency: 4 },
    );
    scene.stack.defer(() => release.resolve());
    const callback = { service: "hms.ffi.v1.RegistryService", method: "List" };
    for (let n = 0; n < 20; n += 1) await as(otto).startOperation({ ...lookup("quick"), callback });
    for (let n = 0; n < 20; n += 1) await as(otto).startOperation(lookup("hangs"));
    const operationId = idOf(await as(anna).startOperation({ ...lookup("quick"), callback }));
    const { operation } = await as(anna).waitOperation({ operationId });
    expect(operation?.state).toBe(OperationState.SUCCEEDED);
    await waitFor(() => heard.includes("anna"), { describe: "anna's callback" });
    expect(heard).toEqual(["anna"]);
    release.resolve();
  });

  test("beyond the 10,000 that one principal may have going is refused, others' are not", async () => {
    const own = await openDatabase();
    const { as } = await serve(own, { lookup: () => ({}) });
    await sql`insert into operation (operation_id, environment, service, method, codec, request, principal,
        principal_facts, request_sha256, request_id, state, next_at, deadline, keep_ms)
      select gen_random_uuid(), 'default', 's', 'm', 0, '', 'user:otto', '{}', '', 'r', 'pending',
        now() + interval '1 h', now() + interval '1 h', 1000 from generate_series(1, 10000)`.execute(own.database.db);
    await expect(as(otto).startOperation(lookup("a"))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      details: { reason: "TOO_MANY_OPERATIONS" },
    });
    await as(anna).startOperation(lookup("a"));
  });

  test("runs with the rights that its caller has by then, and not at all if nobody knows him any more", async () => {
    const seen: CallContext[] = [];
    const now: Record<string, Principal> = { anna: { ...anna, roles: [] } };
    const { as } = await serve(
      await openDatabase(),
      {
        lookup: (_, context) => {
          seen.push(context);
          return {};
        },
      },
      { current: ({ id }) => now[id] },
    );
    const ended = async (who: Principal) => {
      const operationId = idOf(await as(who).startOperation(lookup("a")));
      return (await as(who).waitOperation({ operationId })).operation;
    };
    expect(await ended(anna)).toMatchObject({ state: OperationState.SUCCEEDED });
    expect(seen[0]?.principal.roles).toEqual([]);
    expect(await ended(otto)).toMatchObject({ state: OperationState.FAILED, error: { code: 7 } });
    expect(seen).toHaveLength(1);
  });
});
