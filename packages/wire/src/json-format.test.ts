import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, FileDescriptorSetSchema, StringValueSchema, StructSchema } from "@bufbuild/protobuf/wkt";
import { errorDetails, integrationOperations, registry } from "@hms/contracts";
import type { HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { codecOf, codecs } from "./message-codec.ts";

const { json } = codecs;
const { lookup, register } = registry.RegistryService.method;

function refusal(method: typeof register | typeof lookup, text: string | Uint8Array): HmsError {
  try {
    json.decodeRequest(method, typeof text === "string" ? Buffer.from(text) : text);
  } catch (error) {
    return error as HmsError;
  }
  throw new Error("It was read.");
}

const as = <T extends DescMessage>(input: T) => ({ ...lookup, input, output: input }) as never;

describe("JSON of a call", () => {
  test("names fields in lowerCamelCase and reads either spelling", () => {
    const text = Buffer.from(json.encodeRequest(lookup, { serviceId: "hms.cdf.debate" })).toString();
    expect(JSON.parse(text)).toEqual({ serviceId: "hms.cdf.debate" });
    for (const spelt of ['{"serviceId":"a"}', '{"service_id":"a"}']) {
      expect(json.decodeRequest(lookup, Buffer.from(spelt))).toMatchObject({ serviceId: "a" });
    }
  });

  test("holds the details of an error in a field, though the contract imports no kind of them", () => {
    const { waitOperation } = integrationOperations.OperationService.method;
    const info = create(errorDetails.ErrorInfoSchema, { reason: "THING_UNKNOWN" });
    const details = [anyPack(errorDetails.ErrorInfoSchema, info)];
    const answer = create(waitOperation.output, { operation: { error: { code: 5, details } } });
    const text = json.encodeAnswer(waitOperation, answer);
    expect(JSON.parse(Buffer.from(text).toString())).toMatchObject({
      operation: {
        error: { details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "THING_UNKNOWN" }] },
      },
    });
  });

  test("may be no bytes at all, which is the empty message also where {} is none", () => {
    expect(json.decodeRequest(lookup, Buffer.alloc(0))).toEqual(create(lookup.input));
    expect(json.decodeRequest(as(StringValueSchema), Buffer.alloc(0))).toEqual(create(StringValueSchema));
  });

  test("is refused with every unknown name and wrong value, each with its path", () => {
    const error = refusal(
      register,
      JSON.stringify({ serviceID: "a", version: 3, metadata: { a: "b", c: 1 }, contract: { descriptorSet: "%" } }),
    );
    expect(error.code).toBe("INVALID_ARGUMENT");
    const fields = error.details.fieldViolations ?? [];
    expect(fields.map(({ field }) => field)).toEqual(["serviceID", "version", "metadata", "contract"]);
    expect(fields[0]?.description).toMatch(/^is no field of hms.ffi.v1.RegisterRequest: it has serviceId, /);
    const nested = refusal(as(FileDescriptorSetSchema) as never, '{"file":[{},{"package":"a","syntx":""}]}');
    expect(nested.details.fieldViolations?.map(({ field }) => field)).toEqual(["file[1].syntx"]);
  });

  test.each([
    ["no JSON", "{"],
    ["two names for one field", '{"serviceId":"a","service_id":"b"}'],
    ["the same name twice", '{"serviceId":"a","serviceId":"b"}'],
    ["a list", "[]"],
    ["null", "null"],
    ["bytes that are no UTF-8", Buffer.from([0x22, 0xff, 0x22])],
  ])("is refused as %s", (_, text) => {
    expect(refusal(lookup, text).code).toBe("INVALID_ARGUMENT");
  });

  test.each([
    ["lists in a message", (n: number) => "[".repeat(n) + "]".repeat(n), StructSchema],
    ["messages in a message", (n: number) => `${'{"a":'.repeat(n)}1${"}".repeat(n)}`, StructSchema],
    ["an unknown name", (n: number) => `{"x":${"[".repeat(n)}${"]".repeat(n)}}`, lookup.input],
    ["a known one", (n: number) => `{"serviceId":${"[".repeat(n)}${"]".repeat(n)}}`, lookup.input],
  ])("that nests a hundred thousand times is refused without harm: %s", (_, nested, input) => {
    const error = refusal(as(input), nested(100_000));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message.length).toBeLessThan(10_000);
  });

  test("comes to the same message as protobuf", () => {
    const message = create(registry.LookupResponseSchema, {
      service: {
        serviceId: "a",
        metadata: { k: "v" },
        instances: [{ instanceId: "i", leaseExpiresAt: { seconds: 1_790_000_000n, nanos: 5 } }],
      },
    });
    const there = json.decodeAnswer(lookup, json.encodeAnswer(lookup, message));
    expect(there).toEqual(fromBinary(lookup.output, toBinary(lookup.output, message)));
  });
});

test("a codec that does not exist is refused by its number", () => {
  expect(() => codecOf(7)).toThrow("There is no codec 7");
});
