import { deploymentSecrets } from "@hms/contracts";
import type { Step } from "@hms/durable";
import { anonymous, implement, Kernel } from "@hms/kernel";
import { expect, test } from "vitest";
import { methodCalls } from "./method-call.ts";

const { SecretService } = deploymentSecrets;

test.each(["SetSecret", "RevealSecret"])(
  "a step of a graph that nobody could read before does not call %s",
  async (method) => {
    const kernel = new Kernel({
      identity: { authenticate: () => anonymous },
      policy: { decide: () => ({ allowed: true }) },
      audit: { accepts: true, record: () => {} },
    });
    const called: string[] = [];
    const handlers = Object.keys(SecretService.method).map((name) => [name, () => void called.push(name)]);
    kernel.register(implement(SecretService, Object.fromEntries(handlers) as never));
    const step: Step = {
      uses: `call/${SecretService.typeName}/${method}`,
      effect: "at_most_once",
      input: {},
      run: { id: "r", environment: "default", inputs: {}, principal: { kind: "user", id: "anna" } },
      node: "a",
      attempt: 1,
      failures: 0,
      fence: "1",
      signal: new AbortController().signal,
      principal: { kind: "user", id: "anna" },
      holds: () => true,
      log: () => {},
    };
    await expect(methodCalls(kernel, (principal) => principal)(step)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { reason: "SECRET_IN_RUN" },
    });
    expect(called).toEqual([]);
  },
);
