import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ReplicaShares, sharesOf, WHOLE_SHARE } from "./replica-shares.ts";

const { ACTIVE, DRAINING } = mesh.EndpointState;

interface Replica {
  revision: number;
  weight?: number;
  state?: mesh.EndpointState;
}

function entryOf(replicas: readonly Replica[], split?: MessageInitShape<typeof mesh.TrafficSplitSchema>) {
  return create(mesh.MeshServiceEntrySchema, {
    environment: "default",
    name: "echo",
    endpoints: replicas.map(({ revision, weight, state = ACTIVE }, index) => ({
      endpointId: `default/echo/${revision}/${index}`,
      revision: BigInt(revision),
      state,
      ...(weight === undefined ? {} : { weight }),
    })),
    ...(split ? { split } : {}),
  });
}

const shares = (...args: Parameters<typeof entryOf>) =>
  [...(sharesOf(entryOf(...args)) ?? [])].map(([, share]) => share);

test("without a split every active replica gets as much as any other, by its weight", () => {
  expect(shares([{ revision: 1 }, { revision: 1 }])).toEqual([10_000, 10_000]);
  expect(
    shares([
      { revision: 1, weight: 1000 },
      { revision: 1, weight: 3000 },
    ]),
  ).toEqual([5000, 15_000]);
});

test("a tried revision gets its share of all calls, however many replicas it has", () => {
  const split = { revision: 2n, share: 100 };
  expect(shares([{ revision: 2 }, { revision: 1 }, { revision: 1 }], split)).toEqual([300, 14_850, 14_850]);
  expect(shares([{ revision: 2 }, { revision: 1 }], { revision: 2n, share: 5000 })).toEqual([10_000, 10_000]);
});

test("a preview that only matching requests reach gets no calls, and the old revision none once the new one has all", () => {
  expect(shares([{ revision: 2 }, { revision: 1 }], { revision: 2n, share: 0 })).toEqual([0, 20_000]);
  expect(shares([{ revision: 2 }, { revision: 1 }], { revision: 2n, share: 10_000 })).toEqual([20_000, 0]);
});

test("a side without anybody leaves everything to the other, as in the mesh", () => {
  expect(shares([{ revision: 2 }], { revision: 2n, share: 100 })).toEqual([10_000]);
  expect(shares([{ revision: 1 }], { revision: 2n, share: 100 })).toEqual([10_000]);
});

test("whatever the split, what is dealt out is as much as there is, and the tried side gets its part of it", () => {
  const replica = fc.record({ revision: fc.constantFrom(1, 2), weight: fc.integer({ min: 1, max: 5000 }) });
  const world = fc.record({
    replicas: fc.array(replica, { minLength: 1, maxLength: 20 }),
    share: fc.integer({ min: 0, max: WHOLE_SHARE }),
  });
  fc.assert(
    fc.property(world, ({ replicas, share }) => {
      const entry = entryOf(replicas, { revision: 2n, share });
      const dealt = sharesOf(entry) ?? new Map<string, number>();
      const sum = (revision?: bigint) =>
        entry.endpoints
          .filter((endpoint) => revision === undefined || endpoint.revision === revision)
          .reduce((total, { endpointId }) => total + (dealt.get(endpointId) ?? Number.NaN), 0);
      const whole = WHOLE_SHARE * replicas.length;
      expect(Math.abs(sum() - whole)).toBeLessThanOrEqual(replicas.length);
      if (new Set(replicas.map(({ revision }) => revision)).size === 2) {
        expect(Math.abs(sum(2n) / whole - share / WHOLE_SHARE)).toBeLessThan(0.001);
      }
    }),
    { numRuns: 500 },
  );
});

function contentOf(...services: mesh.MeshServiceEntry[]): mesh.SnapshotContent {
  return create(mesh.SnapshotContentSchema, { services });
}

test("a replica that the mesh does not send to gets what nobody else can take; one of a service without traffic is left alone", () => {
  const book = new ReplicaShares();
  expect(book.of("default/echo/1/0")).toBeUndefined();
  expect(book.take(contentOf(entryOf([{ revision: 1 }, { revision: 1, state: DRAINING }])))).toEqual(["default/echo"]);
  expect(book.of("default/echo/1/0")).toBe(10_000);
  expect(book.of("default/echo/1/1")).toBe(0);
  expect(book.of("default/echo/2/9")).toBe(0);
  expect(book.of("default/other/1/0")).toBeUndefined();
  expect(book.of("")).toBeUndefined();
});

test("only services whose calls are divided otherwise are named", () => {
  const book = new ReplicaShares();
  const two = [{ revision: 1 }, { revision: 2 }];
  book.take(contentOf(entryOf(two, { revision: 2n, share: 100 })));
  expect(book.take(contentOf(entryOf(two, { revision: 2n, share: 100 })))).toEqual([]);
  expect(book.take(contentOf(entryOf(two, { revision: 2n, share: 5000 })))).toEqual(["default/echo"]);
  expect(book.take(contentOf())).toEqual(["default/echo"]);
  expect(book.of("default/echo/1/0")).toBeUndefined();
});
