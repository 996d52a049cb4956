import { deploymentSecrets, identityKeys, identityUsers } from "@hms/contracts";
import type { Step } from "@hms/durable";
import { anonymous, implement, Kernel } from "@hms/kernel";
import { expect, test } from "vitest";
import { methodCalls } from "./method-call.ts";

const TELLING = [
  [deploymentSecrets.SecretService, "SetSecret"],
  [deploymentSecrets.SecretService, "RevealSecret"],
  [identityKeys.KeyService, "CreateKey"],
  [identityUsers.UserService, "CreateInvitation"],
  [identityUsers.UserService, "CreateResetLink"],
] as const;

test.each(TELLING.map(([service, method]) => ({ service, method })))(
  "a step of a graph that nobody could read before does not call $method",
  async ({ service, method }) => {
    const kernel = new Kernel({
      identity: { authenticate: () => anonymous },
      policy: { decide: () => ({ allowed: true }) },
      audit: { accepts: true, record: () => {} },
    });
    const called: string[] = [];
    const handlers = Object.keys(service.method).map((name) => [name, () => void called.push(name)]);
    kernel.register(implement(service, Object.fromEntries(handlers) as never));
    const step: Step = {
      uses: `call/${service.typeName}/${method}`,
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
