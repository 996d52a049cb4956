import { HmsError } from "@hms/kernel";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { ExpiredLeases } from "./store.ts";

let end = new AbortController();
beforeEach(() => {
  vi.useFakeTimers();
  end = new AbortController();
});
afterEach(() => {
  end.abort();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const key = { environment: "default", serviceId: "a", version: "v1" };

/** A keeper over answers given in advance; without one, nothing is due. */
function keeper(answers: (ExpiredLeases | Error)[] = []) {
  const events: string[] = [];
  const leases = new LeaseKeeper(
    {
      expire: async () => {
        const answer = answers.shift() ?? { changed: [], nextInMs: undefined };
        events.push("expire");
        if (answer instanceof Error) throw answer;
        return answer;
      },
      prolong: async () => void events.push("prolong"),
      changed: (keys) => events.push(`changed ${keys.map(({ serviceId }) => serviceId)}`),
      failed: ({ code }) => events.push(`failed ${code}`),
    },
    end.signal,
  );
  return { leases, events };
}

test("one timer waits for the earliest lease and sets itself anew", async () => {
  const { leases, events } = keeper([
    { changed: [], nextInMs: 10_000 },
    { changed: [key], nextInMs: 60_000 },
  ]);
  await leases.sweep();
  leases.endsIn(30_000);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(9999);
  expect(events).toEqual(["prolong", "expire"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(events.slice(2)).toEqual(["expire", "changed a"]);
  expect(vi.getTimerCount()).toBe(1);
});

test("a shorter lease moves the timer forward, a longer one leaves it", async () => {
  const { leases, events } = keeper([{ changed: [], nextInMs: 60_000 }]);
  await leases.sweep();
  leases.endsIn(5000);
  leases.endsIn(20_000);
  await vi.advanceTimersByTimeAsync(5000);
  expect(events.filter((event) => event === "expire")).toHaveLength(2);
});

test("time without PostgreSQL does not count against leases", async () => {
  vi.useRealTimers();
  const away = new HmsError("UNAVAILABLE", "away");
  const { leases, events } = keeper([{ changed: [], nextInMs: 1 }, away, away]);
  await leases.sweep();
  const expected = ["prolong", "expire", "expire", "prolong", "expire", "prolong", "expire"];
  await vi.waitFor(() => expect(events).toEqual(expected));
  vi.useFakeTimers();
});

test("time in which renewals failed does not count either, though no lease ended in it", async () => {
  const { leases, events } = keeper([{ changed: [], nextInMs: 1000 }]);
  await leases.sweep();
  leases.noteOutage();
  await vi.advanceTimersByTimeAsync(1000);
  expect(events).toEqual(["prolong", "expire", "prolong", "expire"]);
});

test("a failure that is no outage is told and tried again", async () => {
  const { leases, events } = keeper([new HmsError("INTERNAL", "odd"), { changed: [key], nextInMs: undefined }]);
  await leases.sweep();
  await vi.advanceTimersByTimeAsync(1000);
  expect(events.filter((event) => !/prolong|expire/.test(event))).toEqual(["failed INTERNAL", "changed a"]);
});
