import type { FileRegistry } from "@bufbuild/protobuf";
import { ContractIndex, fieldsOf } from "./contract-index.ts";

/** Something that a contract has and the one before had not; it breaks nobody. */
export interface ContractAddition {
  readonly kind: "service" | "method" | "message" | "field" | "enum" | "value";
  /** "hms.emr.patient.v1.Patient.born", "hms.emr.patient.v1.PatientService/GetPatient". */
  readonly subject: string;
}

const isStandard = (name: string) => name.startsWith("google.protobuf.");

/** What a contract adds, the outermost only: a new message is told, its fields are not. */
export function contractAdditions(before: FileRegistry, after: FileRegistry): ContractAddition[] {
  const [old, now] = [new ContractIndex(before), new ContractIndex(after)];
  return [...addedServices(old, now), ...addedMessages(old, now), ...addedEnums(old, now)].filter(
    ({ subject }) => !isStandard(subject),
  );
}

function* addedServices(old: ContractIndex, now: ContractIndex): Generator<ContractAddition> {
  for (const [name, { methods }] of now.services) {
    const known = old.services.get(name);
    if (known === undefined) yield { kind: "service", subject: name };
    else
      for (const method of methods.keys())
        if (!known.methods.has(method)) yield { kind: "method", subject: `${name}/${method}` };
  }
}

function* addedMessages(old: ContractIndex, now: ContractIndex): Generator<ContractAddition> {
  for (const [name, message] of now.messages) {
    if (message.mapField !== undefined) continue;
    const known = old.messages.get(name);
    if (known === undefined) yield { kind: "message", subject: name };
    else
      for (const [number, field] of fieldsOf(message))
        if (!fieldsOf(known).has(number)) yield { kind: "field", subject: field.name };
  }
}

function* addedEnums(old: ContractIndex, now: ContractIndex): Generator<ContractAddition> {
  for (const [name, { proto }] of now.enums) {
    const known = old.enums.get(name);
    if (known === undefined) yield { kind: "enum", subject: name };
    else
      for (const value of proto.value)
        if (!known.proto.value.some((one) => one.name === value.name))
          yield { kind: "value", subject: `${name}.${value.name}` };
  }
}
