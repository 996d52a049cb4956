import { openTestDatabase } from "@hms/testkit";
import { type Durable, type DurableOptions, openDurable } from "../index.ts";

/** The run engine on a database of a test file's own. */
export async function openEngine(options: Pick<DurableOptions, "statementTimeoutMs"> = {}): Promise<Durable> {
  const migrations = new URL("../../migrations/", import.meta.url);
  await using stack = new AsyncDisposableStack();
  const place = stack.use(await openTestDatabase({ service: "durable", migrations }));
  const durable = stack.use(await openDurable({ source: place.source, ...options }));
  const owned = stack.move();
  return Object.assign(durable, { [Symbol.asyncDispose]: () => owned.disposeAsync() });
}

/** Somebody. */
export const principal = { kind: "user", id: "anna" } as const;
