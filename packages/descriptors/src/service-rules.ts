import { type MethodDescriptorProto, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { BreakingRule, Finding } from "./breaking-rule.ts";
import { type ContractIndex, typeNameOf } from "./contract-index.ts";

type Change = readonly [rule: BreakingRule, change: string];

function idempotencyOf({ options }: MethodDescriptorProto): string {
  return MethodOptions_IdempotencyLevel[options?.idempotencyLevel ?? 0] ?? "";
}

const streaming = (yes: boolean) => (yes ? "streams" : "is single");

function* methodChanges(before: MethodDescriptorProto, after: MethodDescriptorProto): Generator<Change> {
  const [oldInput, newInput] = [typeNameOf(before.inputType), typeNameOf(after.inputType)];
  if (oldInput !== newInput) yield ["RPC_SAME_REQUEST_TYPE", `Its request was ${oldInput} and is now ${newInput}.`];
  const [oldOutput, newOutput] = [typeNameOf(before.outputType), typeNameOf(after.outputType)];
  if (oldOutput !== newOutput)
    yield ["RPC_SAME_RESPONSE_TYPE", `Its response was ${oldOutput} and is now ${newOutput}.`];
  if (before.clientStreaming !== after.clientStreaming) {
    yield ["RPC_SAME_CLIENT_STREAMING", `Its request now ${streaming(after.clientStreaming)}.`];
  }
  if (before.serverStreaming !== after.serverStreaming) {
    yield ["RPC_SAME_SERVER_STREAMING", `Its response now ${streaming(after.serverStreaming)}.`];
  }
  const [oldLevel, newLevel] = [idempotencyOf(before), idempotencyOf(after)];
  if (oldLevel !== newLevel) {
    yield ["RPC_SAME_IDEMPOTENCY_LEVEL", `Its idempotency_level was ${oldLevel} and is now ${newLevel}.`];
  }
}

/** What changed in services that are there before and after. */
export function* serviceFindings(oldIndex: ContractIndex, newIndex: ContractIndex): Generator<Finding> {
  for (const [name, before] of oldIndex.services) {
    const after = newIndex.services.get(name);
    if (after === undefined) continue;
    const file = before.file.name;
    for (const [methodName, method] of before.methods) {
      const subject = `${name}/${methodName}`;
      const now = after.methods.get(methodName);
      if (now === undefined) yield { rule: "RPC_NO_DELETE", file, subject, change: "The method was removed." };
      else for (const [rule, change] of methodChanges(method, now)) yield { rule, file, subject, change };
    }
  }
}
