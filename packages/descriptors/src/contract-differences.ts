import type { FileRegistry } from "@bufbuild/protobuf";
import { type BreakingRule, breakingRules, type Finding } from "./breaking-rule.ts";
import { ContractIndex } from "./contract-index.ts";
import { enumFindings } from "./enum-rules.ts";
import { extensionFindings } from "./field-rules.ts";
import { fileFindings } from "./file-rules.ts";
import { messageFindings } from "./message-rules.ts";
import { serviceFindings } from "./service-rules.ts";

/** One difference between two contracts that matters to somebody. */
export interface ContractDifference extends Finding {
  /** The rule's name at buf, "FIELD_SAME_NAME". */
  readonly rule: BreakingRule;
  /** "error" breaks callers at run time; "warning" only breaks those who build from the contract. */
  readonly severity: "error" | "warning";
  /** Whom it breaks, and why. */
  readonly breaks: string;
  /** What to do instead. */
  readonly instead: string;
}

/** Every violation of a rule, as `buf breaking` would report it for WIRE_JSON and PACKAGE. */
export function allFindings(before: FileRegistry, after: FileRegistry): Finding[] {
  const [oldIndex, newIndex] = [new ContractIndex(before), new ContractIndex(after)];
  return [serviceFindings, messageFindings, extensionFindings, enumFindings, fileFindings].flatMap((findings) => [
    ...findings(oldIndex, newIndex),
  ]);
}

/** Entries of maps are no messages to people, and what has an error needs no warning. */
function worthSaying(finding: Finding, broken: ReadonlySet<string>, mapEntries: ReadonlySet<string>): boolean {
  if (breakingRules[finding.rule].severity === "error") return true;
  return !broken.has(finding.subject) && !mapEntries.has(finding.subject);
}

/**
 * What a change of a contract breaks, errors first: rules of `buf breaking`, WIRE_JSON and removed methods as errors,
 * other PACKAGE rules as warnings. Files of google.protobuf are not compared.
 */
export function contractDifferences(before: FileRegistry, after: FileRegistry): ContractDifference[] {
  const findings = allFindings(before, after);
  const errors = findings.filter(({ rule }) => breakingRules[rule].severity === "error");
  const broken = new Set(errors.map(({ subject }) => subject));
  const indexed = [...new ContractIndex(before).messages.values()];
  const entries = new Set(indexed.filter(({ mapField }) => mapField !== undefined).map(({ name }) => name));
  const said = findings.filter((finding) => worthSaying(finding, broken, entries));
  const explained = said.map((finding) => ({ ...finding, ...breakingRules[finding.rule] }));
  return explained.sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
}

/** A difference in one line. */
export function differenceText({ subject, change, breaks, instead }: ContractDifference): string {
  return `${subject}: ${change} ${breaks} ${instead}`;
}
