import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { integrationEvents, registry } from "@hms/contracts";
import { HmsError, type MethodEntry, methodRule } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { createRequestValidator } from "./index.ts";

const { EventService, PublishRequestSchema, SubscribeRequestSchema } = integrationEvents;
const entryOf = (desc: MethodEntry["desc"]): MethodEntry => ({
  name: `${desc.parent.typeName}/${desc.name}`,
  desc,
  rule: methodRule(desc),
  mutates: true,
  handler: () => undefined,
});
const publish = entryOf(EventService.method.publish);
const subscribe = entryOf(EventService.method.subscribe);
const validator = createRequestValidator();

function refusalOf(work: () => void): HmsError {
  try {
    work();
  } catch (error) {
    if (error instanceof HmsError) return error;
  }
  throw new Error("it was let through");
}

describe("a request", () => {
  test("that keeps the rules of its contract is let through", () => {
    validator.validate(publish, create(PublishRequestSchema, { topic: "hms.ach.transactions", events: [{ id: "1" }] }));
    validator.validate(
      subscribe,
      create(SubscribeRequestSchema, { pattern: "hms.*.done.**", ackWait: durationFromMs(5000) }),
    );
  });

  test("that breaks several is refused with all of them, each by its field", () => {
    const events = [{ key: "k".repeat(300) }, { extensions: { "No!": "x" } }];
    const error = refusalOf(() => validator.validate(publish, create(PublishRequestSchema, { topic: "a..b", events })));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.details.reason).toBe("REQUEST_NOT_VALID");
    expect(error.details.fieldViolations?.map(({ field }) => field)).toEqual([
      "topic",
      "events[0].key",
      'events[1].extensions["No!"]',
    ]);
    expect(error.message).toContain("topic:");
  });

  test.each(["a.**.b", "", "a b", "**.a", "a."])("with the pattern %j is refused", (pattern) => {
    expect(refusalOf(() => validator.validate(subscribe, create(SubscribeRequestSchema, { pattern }))).code).toBe(
      "INVALID_ARGUMENT",
    );
  });

  test("whose contract has no rules is not looked at", () => {
    const lookup = entryOf(registry.RegistryService.method.lookup);
    validator.validate(lookup, "not even a message");
  });
});
