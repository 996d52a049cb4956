import { readFileSync } from "node:fs";
import { create, createFileRegistry, fromBinary, fromJson, type JsonObject, setExtension } from "@bufbuild/protobuf";
import { durationFromMs, FileDescriptorSetSchema, MessageOptionsSchema } from "@bufbuild/protobuf/wkt";
import { integrationEvents, registry, validate } from "@hms/contracts";
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

/** A copy of a method's contract, as somebody would register it, with a CEL rule on its request. */
function registeredWithRule(expression: string): MethodEntry {
  const { file } = EventService;
  const proto = structuredClone(file.proto);
  const message = proto.messageType.find(({ name }) => name === "PublishRequest");
  if (message === undefined) throw new Error("the contract has changed");
  message.options = create(MessageOptionsSchema);
  const cel = [{ id: "costly", message: "", expression }];
  setExtension(message.options, validate.message, create(validate.MessageRulesSchema, { cel }));
  const files = createFileRegistry(proto, (name) => file.dependencies.find((one) => one.proto.name === name));
  const service = files.getService(EventService.typeName) as typeof EventService;
  return { ...entryOf(service.method.publish), environment: "default" };
}

test("the rules of a registered contract cannot hold up everybody, however much they compute", () => {
  const each = "this.events.all(a, this.events.all(b, this.events.all(c, a.id != 'x' || b.id != 'y' || c.id != 'z')))";
  const entry = registeredWithRule(each);
  const fine = create(PublishRequestSchema, { topic: "a.b", events: [{ id: "1" }] });
  validator.validate(entry, fine);
  const events = Array.from({ length: 300 }, (_, n) => ({ id: String(n) }));
  const started = performance.now();
  const costly = create(PublishRequestSchema, { topic: "a.b", events });
  const error = refusalOf(() => validator.validate(entry, costly));
  expect(performance.now() - started).toBeLessThan(3_000);
  expect(error.code).toBe("FAILED_PRECONDITION");
  expect(error.message).toContain("take longer than 250 ms");
  expect(refusalOf(() => validator.validate(entry, fine)).details.reason).toBe("CONTRACT_RULES_BROKEN");
});

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

  test("that breaks thousands is told a hundred of them", () => {
    const events = Array.from({ length: 500 }, () => ({ key: "k".repeat(300) }));
    const error = refusalOf(() => validator.validate(publish, create(PublishRequestSchema, { topic: "a.b", events })));
    expect(error.details.fieldViolations).toHaveLength(100);
  });

  test("that is huge and broken all over takes neither memory nor time", () => {
    const events = Array.from({ length: 20_000 }, () => ({ key: "k".repeat(300) }));
    const request = create(PublishRequestSchema, { topic: "a.b", events });
    const error = refusalOf(() => validator.validate(publish, request));
    expect(error.details.fieldViolations?.length).toBe(1);
  });

  test("with a text that is too long by far is told that, and no pattern looks at it", () => {
    const started = performance.now();
    const request = create(PublishRequestSchema, { topic: "a".repeat(4 << 20), events: [{ id: "1" }] });
    expect(refusalOf(() => validator.validate(publish, request)).message).toContain("must be at most 255 characters");
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  test("whose contract has no rules is not looked at", () => {
    const lookup = entryOf(registry.RegistryService.method.lookup);
    validator.validate(lookup, "not even a message");
  });
});

describe("what every SDK says of a request to the conformance service:", () => {
  const file = (name: string) => readFileSync(new URL(`../../../sdks/conformance/${name}`, import.meta.url));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, file("contract.binpb")));
  const desc = registry.getService("hms.conformance.v1.ConformanceService")?.method.check;
  const { base, vectors } = JSON.parse(file("validation.json").toString()) as {
    base: JsonObject;
    vectors: { name: string; change: JsonObject; violations: { field: string; description: string }[] }[];
  };

  test.each(vectors)("$name", ({ change, violations }) => {
    if (desc === undefined) throw new Error("the contract has changed");
    const given = Object.entries({ ...base, ...change }).filter(([, value]) => value !== null);
    const request = fromJson(desc.input, Object.fromEntries(given), { registry });
    const check = () => validator.validate(entryOf(desc), request);
    if (violations.length === 0) expect(check).not.toThrow();
    else expect(refusalOf(check).details.fieldViolations).toEqual(violations);
  });

  test("a text so long that its pattern would hold everybody up", () => {
    if (desc === undefined) throw new Error("the contract has changed");
    const given = { ...base, slow: `${"a".repeat(4 << 20)}b` };
    const request = fromJson(desc.input, given, { registry });
    const started = performance.now();
    const error = refusalOf(() => validator.validate(entryOf(desc), request));
    expect(performance.now() - started).toBeLessThan(2_000);
    expect([error.code, error.details.reason]).toEqual(["FAILED_PRECONDITION", "CONTRACT_RULES_BROKEN"]);
    expect(error.message).toContain("regex match failed for ^(a+)+$");
  });
});
