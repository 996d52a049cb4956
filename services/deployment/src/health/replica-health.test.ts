import { describe, expect, test } from "vitest";
import { observeProbe, observeProcess, type ReplicaHealth, unknownHealth } from "./replica-health.ts";

const thresholds = { rise: 2, fall: 3 };
const started = (instance = "7.0", proven = "") => observeProcess(unknownHealth, { instance, proven, now: 10 });

function probed(health: ReplicaHealth, ...answers: boolean[]): ReplicaHealth {
  return answers.reduce(
    (last, ok) => observeProbe(last, { ok, text: ok ? "200" : "503" }, { thresholds, now: 20 }),
    health,
  );
}

describe("a replica's health", () => {
  test("needs as many passes in a row as rise says", () => {
    expect(started().state).toBe("unproven");
    expect(probed(started(), true).state).toBe("unproven");
    expect(probed(started(), true, false, true).state).toBe("unproven");
    expect(probed(started(), true, true)).toMatchObject({ state: "ready", since: 20, lastProbe: "200" });
  });

  test("is lost by as many failures in a row as fall says, and comes back on rise", () => {
    const ready = probed(started(), true, true);
    expect(probed(ready, false, false, true, false, false).state).toBe("ready");
    const failing = probed(ready, false, false, false);
    expect(failing.state).toBe("failing");
    expect(probed(failing, true, true).state).toBe("ready");
  });

  test("ends with the process, and another process has to prove itself again", () => {
    const ready = probed(started(), true, true);
    const down = observeProcess(ready, { instance: "", proven: "7.0", now: 30 });
    expect(down).toMatchObject({ state: "down", lastProbe: "200" });
    expect(observeProcess(down, { instance: "8.1", proven: "7.0", now: 40 }).state).toBe("unproven");
    expect(probed(down, true, true).state).toBe("down");
  });

  test("is kept over a restart of the server for a process that has proved itself", () => {
    expect(started("7.0", "7.0").state).toBe("ready");
    expect(started("7.1", "7.0").state).toBe("unproven");
  });
});
