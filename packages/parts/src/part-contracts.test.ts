import * as contracts from "@hms/contracts";
import { expect, test } from "vitest";
import { partContracts } from "./part-contracts.ts";

/** What no part answers: each process itself, the agent, and the accounts, which live in the server. */
const ELSEWHERE =
  /^(?:hms\.ffi\.v1\.(?:Call|Reflection)\w*Service|hms\.sys\.agent\.|hms\.identity\.|grpc\.|hms\.test\.)/;

interface Described {
  kind?: string;
  typeName?: string;
}

test("every service of the platform's contracts belongs to one part, so that it is there when that part runs apart", () => {
  const all = Object.values(contracts)
    .flatMap((module) => Object.values(module as object) as Described[])
    .flatMap(({ kind, typeName = "" } = {}) => (kind === "service" ? [typeName] : []))
    .filter((name) => name.startsWith("hms.") && !ELSEWHERE.test(name));
  const ofParts = Object.values(partContracts).flatMap((services) => services.map(({ typeName }) => typeName));
  expect(ofParts.toSorted()).toEqual([...new Set(all)].toSorted());
});
