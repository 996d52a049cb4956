import { HmsError } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ConnectedNodes } from "./connected-nodes.ts";
import { nodeGraces } from "./node-graces.ts";
import { NodeWaits } from "./node-waits.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const forever = new AbortController().signal;

function fixture() {
  const graces = nodeGraces({ startMs: 0 });
  const nodes = new ConnectedNodes(graces);
  return { nodes, waits: new NodeWaits(nodes, graces) };
}

/** What a promise has come to, without waiting for it. */
async function settled(promise: Promise<unknown>): Promise<unknown> {
  let outcome: unknown = "pending";
  const keep = (value: unknown) => {
    outcome = value;
  };
  promise.then(keep, keep);
  await vi.advanceTimersByTimeAsync(0);
  return outcome;
}

const idle = { inFlight: {} };

describe("waiting until a version is applied", () => {
  test("ends when the last connected data plane serves it or a newer one", async () => {
    const { nodes, waits } = fixture();
    const leave = [nodes.connect("a", 0n, forever), nodes.connect("b", 0n, forever)];
    const wait = waits.applied(5n, forever);
    nodes.report("a", { appliedVersion: 6n, ...idle });
    expect(await settled(wait)).toBe("pending");
    nodes.report("b", { appliedVersion: 5n, ...idle });
    expect(await settled(wait)).toBe(2);
    for (const each of leave) each();
    await vi.advanceTimersByTimeAsync(3000);
  });

  test("answers 0 only if no data plane comes within the grace", async () => {
    const { nodes, waits } = fixture();
    const wait = waits.applied(5n, forever);
    await vi.advanceTimersByTimeAsync(999);
    expect(await settled(wait)).toBe("pending");
    await vi.advanceTimersByTimeAsync(1);
    expect(await settled(wait)).toBe(0);

    const other = waits.applied(5n, forever);
    await vi.advanceTimersByTimeAsync(900);
    nodes.connect("late", 0n, forever);
    await vi.advanceTimersByTimeAsync(5000);
    expect(await settled(other)).toBe("pending");
    nodes.report("late", { appliedVersion: 5n, ...idle });
    expect(await settled(other)).toBe(1);
  });

  test("gives data planes of the server's predecessor longer after a start", async () => {
    const nodes = new ConnectedNodes(nodeGraces());
    const wait = new NodeWaits(nodes, nodeGraces()).applied(1n, forever);
    await vi.advanceTimersByTimeAsync(4900);
    expect(await settled(wait)).toBe("pending");
    nodes.connect("a", 1n, forever);
    expect(await settled(wait)).toBe(1);
  });

  test("does not forget a data plane that reconnects, but does forget one that stays away", async () => {
    const { nodes, waits } = fixture();
    nodes.connect("a", 0n, forever)();
    const wait = waits.applied(5n, forever);
    await vi.advanceTimersByTimeAsync(2900);
    const leave = nodes.connect("a", 0n, forever);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await settled(wait)).toBe("pending");
    leave();
    await vi.advanceTimersByTimeAsync(3000 + 1000);
    expect(await settled(wait)).toBe(0);
  });

  test("does not count a data plane whose call was aborted, though nobody reads its stream to the end", async () => {
    const { nodes, waits } = fixture();
    const call = new AbortController();
    nodes.connect("a", 0n, call.signal);
    call.abort();
    await vi.advanceTimersByTimeAsync(3000);
    expect(nodes.list()).toEqual([]);
    const wait = waits.applied(5n, forever);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await settled(wait)).toBe(0);
  });

  test("counts a data plane once, though its old stream ends after its new one began", async () => {
    const { nodes, waits } = fixture();
    const old = nodes.connect("a", 5n, forever);
    nodes.connect("a", 5n, forever);
    old();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await waits.applied(5n, forever)).toBe(1);
  });

  test("keeps a report that overtook its watch, and counts nobody without a watch", async () => {
    const { nodes, waits } = fixture();
    nodes.report("a", { appliedVersion: 5n, ...idle });
    expect(nodes.list()).toEqual([]);
    nodes.connect("a", 0n, forever);
    expect(await waits.applied(5n, forever)).toBe(1);
  });

  test("ends with the call", async () => {
    const { nodes, waits } = fixture();
    nodes.connect("a", 0n, forever);
    const call = new AbortController();
    const wait = waits.applied(5n, call.signal);
    call.abort(new HmsError("DEADLINE_EXCEEDED", "over"));
    expect(await settled(wait)).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});

describe("waiting until endpoints are drained", () => {
  const ids = new Set(["r1", "r2"]);
  const wait = { version: 5n, timeoutMs: 30_000, signal: forever };

  test("believes no report that is older than the version in which they drain", async () => {
    const { nodes, waits } = fixture();
    nodes.connect("a", 0n, forever);
    nodes.report("a", { appliedVersion: 4n, ...idle });
    const drained = waits.drained(ids, wait);
    expect(await settled(drained)).toBe("pending");
    nodes.report("a", { appliedVersion: 5n, inFlight: { r1: 2 } });
    expect(await settled(drained)).toBe("pending");
    nodes.report("a", { appliedVersion: 5n, inFlight: { other: 9 } });
    expect(await settled(drained)).toEqual({});
  });

  test("needs a report, not only the word that the version is known", async () => {
    const { nodes, waits } = fixture();
    nodes.connect("a", 5n, forever);
    const drained = waits.drained(ids, wait);
    expect(await settled(drained)).toBe("pending");
    nodes.report("a", { appliedVersion: 5n, ...idle });
    expect(await settled(drained)).toEqual({});
  });

  test("answers with what is left over all data planes when the time is over", async () => {
    const { nodes, waits } = fixture();
    for (const id of ["a", "b"]) {
      nodes.connect(id, 0n, forever);
      nodes.report(id, { appliedVersion: 5n, inFlight: { r1: 2, toString: 1 } });
    }
    const drained = waits.drained(ids, wait);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await settled(drained)).toEqual({ r1: 4 });
  });

  test("fails when the time is over and a data plane has not said, naming it", async () => {
    const { nodes, waits } = fixture();
    nodes.connect("slow-one", 0n, forever);
    const drained = waits.drained(ids, wait);
    drained.catch(() => {});
    await vi.advanceTimersByTimeAsync(30_000);
    expect(await settled(drained)).toMatchObject({
      code: "DEADLINE_EXCEEDED",
      details: { reason: "NODES_BEHIND", metadata: { nodeIds: "slow-one" } },
    });
  });

  test("takes the requests of a data plane that died as ended, after its grace", async () => {
    const { nodes, waits } = fixture();
    const leave = nodes.connect("a", 0n, forever);
    nodes.report("a", { appliedVersion: 5n, inFlight: { r1: 1 } });
    nodes.connect("b", 0n, forever);
    nodes.report("b", { appliedVersion: 5n, ...idle });
    const drained = waits.drained(ids, wait);
    leave();
    await vi.advanceTimersByTimeAsync(2999);
    expect(await settled(drained)).toBe("pending");
    await vi.advanceTimersByTimeAsync(1);
    expect(await settled(drained)).toEqual({});
  });

  test("is over at once if there is no data plane at all, but never later than asked", async () => {
    const { waits } = fixture();
    const drained = waits.drained(ids, { ...wait, timeoutMs: 200 });
    await vi.advanceTimersByTimeAsync(200);
    expect(await settled(drained)).toEqual({});
  });
});
