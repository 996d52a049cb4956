import { casesOf, isThorough } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CrashArena, openCrashArena } from "./testing/crash-arena.ts";
import { type CrashCell, crashCells, playCell } from "./testing/crash-cell.ts";
import { brokenInvariants } from "./testing/invariants.ts";

let arena: CrashArena;
beforeAll(async () => {
  arena = await openCrashArena();
});
afterAll(() => arena[Symbol.asyncDispose]());

const isRestart = ({ fault }: CrashCell) => fault === "database-restart";
// Otherwise each moment and each fault at least once, with the effect that allows least.
const cells = casesOf(
  crashCells,
  ({ moment, fault, effect }, index) =>
    effect === "at_most_once" && (index * 7 + moment.length + fault.length) % 4 === 0,
);
const rows = (wanted: (cell: CrashCell) => boolean) =>
  cells.filter(wanted).map((cell) => [cell.fault, cell.moment, cell.effect, cell] as const);

const play = async (_fault: string, _moment: string, _effect: string, cell: CrashCell) => {
  const { broken, ms } = await playCell(arena, cell);
  if (isThorough) console.log(`${cell.fault}, ${cell.moment}, ${cell.effect}: ended after ${Math.round(ms)} ms`);
  expect(broken).toEqual([]);
};

describe("a run ends as the reference scheduler says, and nothing is done twice that must not be", () => {
  test.concurrent.each(rows((cell) => !isRestart(cell)))("after %s, %s of a step that is %s", play);
  test.concurrent("within 15 s of the death of a worker by SIGKILL, with leases as long as in production", async () => {
    const cell = { moment: "before-effect", fault: "SIGKILL", effect: "idempotent" } as const;
    const { broken, state, ms } = await playCell(arena, cell, 10_000);
    expect({ broken, state }).toEqual({ broken: [], state: "succeeded" });
    expect(ms).toBeLessThan(15_000);
  });
  test.each(rows(isRestart))("after %s, %s of a step that is %s", play);
  test("and of all their rows every invariant holds", async () => {
    expect(await brokenInvariants(arena.durable.database)).toEqual([]);
  });
});
