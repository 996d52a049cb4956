import type { mesh } from "@hms/contracts";
import type { FieldViolation } from "@hms/kernel";
import { dnsLabelProblem } from "./dns-label.ts";
import { invalid } from "./errors.ts";
import { LATENCY_CLASSES } from "./traffic-sums.ts";

/** @throws HmsError INVALID_ARGUMENT with everything in a report that nobody can have counted. */
export function checkTraffic(traffic: readonly mesh.ServiceTraffic[]): void {
  const violations = traffic.flatMap((service, index) => serviceProblems(service, `traffic[${index}]`));
  if (violations.length > 0) throw invalid("The report", violations);
}

/** @throws HmsError INVALID_ARGUMENT with every count of a measure that nobody can have counted. */
export function checkMeasures(measures: readonly mesh.RevisionMeasure[]): void {
  const violations = measures.flatMap((measure, index) => revisionProblems(measure, `measures[${index}]`));
  if (violations.length > 0) throw invalid("The report", violations);
}

function serviceProblems(told: mesh.ServiceTraffic, at: string): FieldViolation[] {
  const { environment, service, load, revisions, triedUnavailable, baselineUnavailable } = told;
  const names = Object.entries({ environment, service }).flatMap(([name, value]) => {
    const description = dnsLabelProblem(value);
    return description === undefined ? [] : [{ field: `${at}.${name}`, description }];
  });
  return [
    ...names,
    ...countProblems({ triedUnavailable, baselineUnavailable }, at),
    ...(load ? countProblems(load, `${at}.load`) : []),
    ...revisions.flatMap((revision, index) => revisionProblems(revision, `${at}.revisions[${index}]`)),
  ];
}

function revisionProblems(revision: mesh.RevisionTraffic | mesh.RevisionMeasure, at: string): FieldViolation[] {
  const { latencies } = revision;
  const problems = [...countProblems(revision, at), ...countProblems(revision.answers ?? {}, `${at}.answers`)];
  if (latencies.some((count) => count < 0n))
    problems.push({ field: `${at}.latencies`, description: "has counts below 0." });
  if (latencies.length > LATENCY_CLASSES) {
    problems.push({ field: `${at}.latencies`, description: `has more than ${LATENCY_CLASSES} classes.` });
  }
  return problems;
}

/** Every number of a message is 0 or more, and finite. */
function countProblems(message: object, at: string): FieldViolation[] {
  return Object.entries(message).flatMap(([name, value]) => {
    const isNumber = typeof value === "bigint" || typeof value === "number";
    if (!isNumber || (value >= 0 && Number.isFinite(Number(value)))) return [];
    const field = `${at}.${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
    return [{ field, description: `is ${value}; counts are 0 or more.` }];
  });
}
