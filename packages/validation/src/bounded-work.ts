import { Script } from "node:vm";

const CALLED = "hms.validation.boundedWork";
const begun = globalThis as unknown as Record<string, (() => void) | undefined>;
const script = new Script(`globalThis[${JSON.stringify(CALLED)}]()`);

/** Work that was stopped because it took too long. */
export class TookTooLong extends Error {
  override readonly name = "TookTooLong";
}

/**
 * Runs work that does not wait for anything and stops it after `limitMs`, whatever it is at: rules that strangers wrote
 * must not hold up everybody. Costs about 0.1 ms.
 * @throws TookTooLong, or what the work throws
 */
export function boundedWork<T>(work: () => T, limitMs: number): T {
  let result: { value: T } | undefined;
  begun[CALLED] = () => {
    result = { value: work() };
  };
  try {
    script.runInThisContext({ timeout: limitMs });
  } catch (error) {
    throw isTimeout(error) ? new TookTooLong(`they take longer than ${limitMs} ms`) : error;
  } finally {
    begun[CALLED] = undefined;
  }
  return (result as unknown as { value: T }).value;
}

function isTimeout(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
}
