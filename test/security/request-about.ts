import { create, type DescField, type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";

/** Whether the policy is asked about an environment of the request. */
export function namesEnvironment({ input }: DescMethod): boolean {
  return input.fields.some((field) => isEnvironment(field));
}

function isEnvironment({ name, scalar }: DescField): boolean {
  return name === "environment" && scalar === ScalarType.STRING;
}

/** A request that says wherever it can, also deep inside, that it is about an environment. */
export function requestAbout(desc: DescMessage, environment: string, within: readonly DescMessage[] = []): object {
  const request: Record<string, unknown> = {};
  for (const field of desc.fields) {
    if (isEnvironment(field)) request[field.localName] = environment;
    if (field.fieldKind !== "message" && field.fieldKind !== "list") continue;
    const { message } = field;
    if (message === undefined || within.includes(message) || message === desc) continue;
    const inner = create(message, requestAbout(message, environment, [...within, desc]) as never);
    if (field.fieldKind === "list") request[field.localName] = [inner];
    else if (field.oneof) request[field.oneof.localName] = { case: field.localName, value: inner };
    else request[field.localName] = inner;
  }
  return request;
}
