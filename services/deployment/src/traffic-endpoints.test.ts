import { describe, expect, test } from "vitest";
import { plannedEndpoints } from "./traffic-endpoints.ts";

type Health = "down" | "unproven" | "ready" | "failing";
type Traffic = "none" | "active" | "draining";

/** "active/ready" of each replica, and what the mesh is told of it: "a:active". */
function told(...replicas: `${Traffic}/${Health}`[]): string[] {
  const routable = replicas.map((text, index) => {
    const [traffic, state] = text.split("/") as [Traffic, Health];
    return { id: "abcdef"[index] ?? "", revision: 1, traffic, health: { state }, port: state === "down" ? 0 : 20_000 };
  });
  return plannedEndpoints(routable).map(({ id, state }) => `${id}:${state}`);
}

describe("the picture of a service", () => {
  test("has the ready ones of those that are meant to get traffic, and lets others finish", () => {
    expect(told("active/ready", "active/unproven", "active/down", "none/ready", "draining/ready")).toEqual([
      "a:active",
      "e:draining",
    ]);
    expect(told("active/ready", "active/failing")).toEqual(["a:active", "b:draining"]);
  });

  test("is not emptied when all fail their checks at once", () => {
    expect(told("active/failing", "active/failing", "active/down")).toEqual(["a:active", "b:active"]);
  });

  test("keeps ready ones that were about to leave while nobody else is ready", () => {
    expect(told("active/failing", "active/unproven", "draining/ready")).toEqual(["a:draining", "c:active"]);
  });

  test("never has a process that has not passed its checks", () => {
    expect(told("active/unproven", "active/down", "draining/unproven")).toEqual([]);
  });

  test("is empty if nothing is meant to get traffic", () => {
    expect(told("draining/ready", "none/ready")).toEqual(["a:draining"]);
  });
});
