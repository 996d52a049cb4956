import { expect, test } from "vitest";
import { explainEnd } from "./explain-end.ts";

const said = (level: string, message: string) => JSON.stringify({ level, time: "2026-01-31T12:00:00Z", message });

test("the last error that a process wrote is the reason of its end", () => {
  const words = [said("error", "Old."), said("error", "A migration is gone."), said("info", "stopping"), ""].join("\n");
  expect(explainEnd(words)).toBe("A migration is gone.");
});

test("a process without a last error just ended", () => {
  expect(explainEnd(`ut off"}\n${said("warn", "Hm.")}\nSegmentation fault`)).toBe(
    "It ended before it was ready and did not say why.",
  );
});
