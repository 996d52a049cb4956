import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { ruleOf } from "@hms/descriptors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";
import { fieldWord, kindWord, messagesOf } from "../ffi/contract-words.ts";
import { askedService, loadOffer } from "../ffi/service-contract.ts";
import { enumWord } from "../output/human.ts";
import { renderTable } from "../output/table.ts";

/** Shows a service's methods, or one method with its messages. */
export async function run({ args, globals, session, output, signal }: Invocation): Promise<number> {
  const [service = "", method] = args;
  const offer = await loadOffer(session(), askedService(service, globals.environment), { signal });
  const methods =
    method === undefined ? offer.services.flatMap((one) => one.methods) : [offer.methods.find(method).desc];
  if (output.json) output.document(methods.map(methodDocument));
  else if (method === undefined)
    for (const line of renderTable(["METHOD", "TAKES", "REPEATABLE"], methods.map(row))) output.result(line);
  else for (const line of methods.flatMap(methodLines)) output.result(line);
  return ExitCode.OK;
}

function repeatable(desc: DescMethod): string {
  return enumWord(ffiOptions.Idempotency, ruleOf(desc).idempotency);
}

function row(desc: DescMethod): string[] {
  return [desc.name, kindWord(desc), repeatable(desc)];
}

function methodLines(desc: DescMethod): string[] {
  const { permission, auditLevel } = ruleOf(desc);
  return [
    `${desc.parent.typeName}/${desc.name}: ${kindWord(desc)}`,
    `permission ${permission}, audit ${enumWord(ffiOptions.AuditLevel, auditLevel)}, repeated: ${repeatable(desc)}`,
    `request ${desc.input.name}, answer ${desc.output.name}`,
    ...messagesOf(desc).flatMap(messageLines),
  ];
}

function messageLines(message: DescMessage): string[] {
  const rows = message.fields.map((field) => ["", field.name, fieldWord(field)]);
  return ["", `${message.name} {`, ...(rows.length > 0 ? renderTable([" ", "FIELD", "TYPE"], rows).slice(1) : []), "}"];
}

function methodDocument(desc: DescMethod): object {
  const { permission, auditLevel, idempotency } = ruleOf(desc);
  return {
    service: desc.parent.typeName,
    method: desc.name,
    kind: desc.methodKind,
    permission,
    auditLevel: enumWord(ffiOptions.AuditLevel, auditLevel),
    idempotency: enumWord(ffiOptions.Idempotency, idempotency),
    request: desc.input.typeName,
    answer: desc.output.typeName,
    messages: Object.fromEntries(
      messagesOf(desc).map((message) => [
        message.typeName,
        Object.fromEntries(message.fields.map((field) => [field.name, fieldWord(field)])),
      ]),
    ),
  };
}
