import { resolveInstance } from "@hms/config";
import { expect, test } from "vitest";
import { controlGroupName } from "./isolation-probe.ts";
import { processEnd } from "./launch-status.ts";
import { shellQuote } from "./shell-quote.ts";
import { uidOf } from "./surroundings.ts";

test("a shell's status tells codes and signals apart", () => {
  const at = new Date();
  expect(processEnd(0, at)).toEqual({ code: 0, signal: "", at });
  expect(processEnd(127, at)).toEqual({ code: 127, signal: "", at });
  expect(processEnd(137, at)).toEqual({ code: -1, signal: "SIGKILL", at });
  expect(processEnd(143, at)).toEqual({ code: -1, signal: "SIGTERM", at });
  expect(processEnd(255, at)).toEqual({ code: 255, signal: "", at });
});

test("quoted words survive a shell", () => {
  expect(shellQuote("a b", "it's", "$x")).toBe(`'a b' 'it'\\''s' '$x'`);
});

test("two installations of one name in different directories do not share control groups", () => {
  const paths = (data: string) => resolveInstance({ instance: "default", data });
  expect(controlGroupName(paths("/srv/a"))).toMatch(/^hms-sys-default-[0-9a-f]{8}$/);
  expect(controlGroupName(paths("/srv/a"))).not.toBe(controlGroupName(paths("/srv/b")));
});

test("replicas' uids lie between those of containers and the end of what file systems hold, apart for each installation", () => {
  expect(uidOf("127.0", 0)).toBeGreaterThan(1_879_048_191);
  expect(uidOf("127.255", 65_535)).toBeLessThan(2_147_352_576);
  expect(uidOf("127.89", 0)).toBeGreaterThan(uidOf("127.88", 65_535));
});
