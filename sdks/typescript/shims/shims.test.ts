import { expect, test } from "vitest";
import { groupBy } from "./group-by.ts";
import { withResolvers } from "./with-resolvers.ts";

/** The shim as it is without the runtime's own stack. */
async function ownStack(): Promise<typeof AsyncDisposableStack> {
  const native = globalThis.AsyncDisposableStack;
  Reflect.deleteProperty(globalThis, "AsyncDisposableStack");
  try {
    const { asyncDisposableStack } = await import("./async-disposable-stack.ts");
    return asyncDisposableStack as unknown as typeof AsyncDisposableStack;
  } finally {
    Object.defineProperty(globalThis, "AsyncDisposableStack", { value: native, configurable: true, writable: true });
  }
}

test("the stack for Node 20 releases what it was given, the last first, once, and hands it on", async () => {
  const Own = await ownStack();
  expect(Own).not.toBe(AsyncDisposableStack);
  const released: string[] = [];
  const stack = new Own();
  stack.use({ [Symbol.asyncDispose]: async () => void released.push("async") });
  stack.use({ [Symbol.dispose]: () => void released.push("plain") });
  stack.use(undefined);
  stack.defer(() => void released.push("deferred"));
  const moved = stack.move();
  await stack.disposeAsync();
  expect(released).toEqual([]);
  expect(() => stack.defer(() => {})).toThrow(ReferenceError);
  await moved[Symbol.asyncDispose]();
  await moved.disposeAsync();
  expect(released).toEqual(["deferred", "plain", "async"]);
});

test("a release that fails keeps none of the others from it, and is told", async () => {
  const Own = await ownStack();
  const released: string[] = [];
  const stack = new Own();
  stack.defer(() => void released.push("first"));
  stack.defer(() => Promise.reject(new Error("stuck")));
  await expect(stack.disposeAsync()).rejects.toThrow("stuck");
  expect(released).toEqual(["first"]);
});

test("groups and promises are as newer runtimes make them", async () => {
  const keyOf = (n: number) => n % 2;
  expect(groupBy([1, 2, 3], keyOf)).toEqual(Map.groupBy([1, 2, 3], keyOf));
  const { promise, resolve } = withResolvers<number>();
  resolve(1);
  expect(await promise).toBe(1);
});
