import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WaitingRoom } from "./waiting-room.ts";

beforeEach(() => {
  vi.useFakeTimers();
  // Time does not begin at 0 where it runs.
  vi.advanceTimersByTime(1);
});
afterEach(() => {
  vi.useRealTimers();
});

const guest = () => ({ tryAgain: vi.fn(), giveUp: vi.fn() });

function wakingRoom() {
  const onFirst = vi.fn();
  const room = new WaitingRoom(100, onFirst);
  room.wakeWithin(5_000);
  return { room, onFirst };
}

test("where a request starts a replica, the first that waits says so, and all wait as long as a start may take", () => {
  const { room, onFirst } = wakingRoom();
  const guests = [guest(), guest(), guest()];
  for (const each of guests) expect(room.enter(each, performance.now())).toBe(true);
  expect(onFirst).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(4_900);
  expect(guests.map(({ giveUp }) => giveUp.mock.calls.length)).toEqual([0, 0, 0]);
  expect(guests[0]?.tryAgain).toHaveBeenCalled();
  vi.advanceTimersByTime(200);
  expect(guests.map(({ giveUp }) => giveUp.mock.calls.length)).toEqual([1, 1, 1]);
  expect(room.retryAfter).toBe(10);
});

test("after a replica that did not come, requests are refused at once for ten seconds, and then the next one asks again", () => {
  const { room, onFirst } = wakingRoom();
  room.enter(guest(), performance.now());
  vi.advanceTimersByTime(5_100);
  expect(room.enter(guest(), performance.now())).toBe(false);
  vi.advanceTimersByTime(10_000);
  expect(room.enter(guest(), performance.now())).toBe(true);
  expect(onFirst).toHaveBeenCalledTimes(2);
});

test("no more wait than a thousand", () => {
  const { room } = wakingRoom();
  const entered = Array.from({ length: 1_001 }, () => room.enter(guest(), performance.now()));
  expect(entered.filter((isIn) => isIn)).toHaveLength(1_000);
  vi.advanceTimersByTime(5_100);
});

test("where none is started, nobody is told and the wait is the short one", () => {
  const onFirst = vi.fn();
  const room = new WaitingRoom(100, onFirst);
  const waits = guest();
  room.enter(waits, performance.now());
  vi.advanceTimersByTime(200);
  expect(waits.giveUp).toHaveBeenCalledOnce();
  expect(onFirst).not.toHaveBeenCalled();
  expect([room.wakes, room.retryAfter]).toEqual([false, 1]);
});
