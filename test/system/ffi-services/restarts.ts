import { describe, expect, test } from "vitest";
import { BOTH_WAYS, type Scene, until } from "./scene.ts";

/** Calls that outlive their caller survive that either side's process is killed. */
export function restartTests(scene: () => Scene): void {
  describe.each(BOTH_WAYS)("%s has started a call of %s, and SIGKILL ends", (program, service, callee) => {
    const notes = (of: string) => scene().answerOf<unknown[]>(of, { do: "notes" });
    const began = (what: string, times = 1) =>
      until(async () => (await notes(callee)).filter((note) => note === what).length >= times, `${callee}: ${what}`);
    const start = (method: string, request: object = {}) =>
      scene().answerOf<string>(program, { do: "start", service, method, request });
    const operation = async (id: string) => {
      const request = { operation_id: id };
      const asked = { do: "call", service: "hms.sys.integration", method: "OperationService/GetOperation", request };
      return JSON.stringify(await scene().answerOf(program, asked));
    };
    const count = async (what: string) => (await notes(callee)).filter((note) => note === what).length;

    test("the callee: it is made again where that does no harm, and fails at once where it may do some", async () => {
      const first = await scene().answerOf<string>(callee, { do: "process" });
      const [before, beforeOnce] = [await count("survive begins"), await count("slow once begins")];
      const [id, once] = [await start("Survive", { process: first }), await start("SlowOnce")];
      await began("survive begins", before + 1);
      await began("slow once begins", beforeOnce + 1);
      await scene().killReplica(callee);
      const { error } = await scene().ask(program, { do: "result", id: once });
      expect(`${error?.code} ${error?.message}`).toMatch(/^UNAVAILABLE/);
      const { answer } = await scene().ask(program, { do: "result", id });
      expect(answer).toEqual({ process: await scene().answerOf<string>(callee, { do: "process" }) });
      expect(answer).not.toEqual({ process: first });
      expect(await notes(callee)).not.toContain("slow once begins");
    }, 90_000);

    test("the caller: its next process gets the result by the id", async () => {
      const before = await count("slow begins");
      const id = await start("Slow", { seconds: 2 });
      await began("slow begins", before + 1);
      await scene().killReplica(program);
      await until(async () => (await operation(id)).includes("SUCCEEDED"), "the operation to have succeeded");
      expect(await count("slow begins")).toBe(before + 1);
    }, 90_000);
  });
}
