import { type DescField, type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { platformServices } from "@hms/authorization";
import { httpAnnotations } from "@hms/contracts";
import { expect, test } from "vitest";

/** Names of what lets somebody in, or stays secret; "page_token" and "token_endpoint" are neither. */
const SECRET = /(?:^|_)(?:password|secret|token|credential|assertion|otp|key)(?:_text)?$/;
const OPEN = /^(?:page_token|key|idempotency_key|data_key|.*_page_token)$/;

function secretsIn(message: DescMessage, seen = new Set<DescMessage>()): DescField[] {
  if (seen.has(message)) return [];
  seen.add(message);
  return message.fields.flatMap((field) => [
    ...(field.proto.options?.debugRedact === true || (SECRET.test(field.name) && !OPEN.test(field.name))
      ? [field]
      : []),
    ...(field.message ? secretsIn(field.message, seen) : []),
  ]);
}

/** The fields that go into an address: those of its path, and without a body all. */
function inAddress(method: DescMethod): { path: string; isWhole: boolean } {
  if (!hasOption(method, httpAnnotations.http)) return { path: "", isWhole: false };
  const { pattern, body } = getOption(method, httpAnnotations.http);
  return { path: typeof pattern.value === "string" ? pattern.value : "", isWhole: body === "" };
}

const methods = platformServices().flatMap((service) => service.methods);

test("no method of the platform takes a secret in its address", () => {
  expect(methods.filter((method) => secretsIn(method.input).length > 0).length).toBeGreaterThan(2);
  const open = methods.flatMap((method) => {
    const { path, isWhole } = inAddress(method);
    return (
      secretsIn(method.input)
        // By `credential` events are searched; it names one and is none.
        .filter(({ parent, name }) => !(parent.name === "SearchEventsRequest" && name === "credential"))
        .filter(({ name }) => isWhole || path.includes(`{${name}`))
        .map(({ name }) => `${method.parent.typeName}/${method.name} ${name}`)
    );
  });
  expect(open).toEqual([]);
});
