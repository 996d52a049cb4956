import { expect, test } from "vitest";
import { ChangeSignal } from "./change-signal.ts";
import { HmsError } from "./hms-error.ts";

const never = new AbortController().signal;

test("a change wakes everybody who waits, and nobody who comes later", async () => {
  const changes = new ChangeSignal();
  const waiting = [changes.next(never), changes.next(never)];
  changes.notify();
  expect(await Promise.all(waiting)).toEqual([true, true]);
  expect(await changes.next(never, 1)).toBe(false);
});

test("an abort ends the wait with its reason, also if it came first", async () => {
  const changes = new ChangeSignal();
  const call = new AbortController();
  const waiting = changes.next(call.signal);
  call.abort(new HmsError("CANCELLED", "gone"));
  await expect(waiting).rejects.toMatchObject({ message: "gone" });
  await expect(changes.next(call.signal)).rejects.toMatchObject({ message: "gone" });
});
