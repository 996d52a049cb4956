import type { Principal } from "@hms/kernel";

const grants = new Map([["user:keyed", ["hms.billing.*"]]]);

/** What a key was given to register, in the tests of access. */
export function registersOf({ kind, id }: Principal): readonly string[] | undefined {
  return grants.get(`${kind}:${id}`);
}
