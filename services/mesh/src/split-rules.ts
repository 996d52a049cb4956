import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { FieldReport } from "./field-report.ts";

/** Parts that a service's requests are divided into. */
export const SHARES = 10_000;

const MOST_MATCHES = 16;
const FIELD_NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** RFC 6265 §4.1.1: a token. */
const COOKIE_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const VALUE = /^(?:[!-~](?:[ -~]{0,1022}[!-~])?)?$/;
/** What says who somebody is is no mark of a group, and would be in everybody's sight who sees the traffic. */
const SECRET = /^(?:authorization|proxy-authorization|cookie)$/;
const AT = "service.split";

/** A split in its one form; reports what a data plane could not do. */
export function normalSplit(
  given: mesh.TrafficSplit,
  endpoints: readonly mesh.Endpoint[],
  report: FieldReport,
): mesh.TrafficSplit {
  const { revision, share, matches, sticky } = given;
  if (!endpoints.some((endpoint) => endpoint.revision === revision)) {
    report(`${AT}.revision`, `no endpoint is of revision ${revision}; try one that has endpoints.`);
  }
  if (share < 0 || share > SHARES) report(`${AT}.share`, `is ${share}; use 0 to ${SHARES}, that is everything.`);
  if (matches.length > MOST_MATCHES) report(`${AT}.matches`, `has more than ${MOST_MATCHES} matches.`);
  const normal = sticky && normalSticky(sticky, report);
  return create(mesh.TrafficSplitSchema, {
    revision,
    share,
    matches: matches.map((match, index) => normalMatch(match, `${AT}.matches[${index}]`, report)),
    ...(normal ? { sticky: normal } : {}),
  });
}

function normalMatch({ of: kind }: mesh.TrafficMatch, at: string, report: FieldReport): mesh.TrafficMatch {
  if (kind.case === undefined) {
    report(at, "says neither header nor cookie.");
    return create(mesh.TrafficMatchSchema);
  }
  const { name, value } = kind.value;
  const field = `${at}.${kind.case}.name`;
  checkName(kind.case, name, (description) => report(field, description));
  if (kind.case === "header" && SECRET.test(name)) {
    report(field, `${name} says who somebody is; use a field or a cookie of its own.`);
  }
  if (!VALUE.test(value)) {
    report(`${at}.${kind.case}.value`, "cannot stand in a field; use up to 1024 visible ASCII characters.");
  }
  return create(mesh.TrafficMatchSchema, { of: { case: kind.case, value: { name, value } } });
}

/** undefined: clients are not known again. */
function normalSticky({ by }: mesh.StickyKey, report: FieldReport): mesh.StickyKey | undefined {
  if (by.case === undefined || by.value === false || by.value === "") {
    report(`${AT}.sticky`, "says neither address nor header nor cookie; leave it out for each request for itself.");
    return undefined;
  }
  if (by.case !== "address") {
    checkName(by.case, by.value, (description) => report(`${AT}.sticky.${by.case}`, description));
  }
  return create(mesh.StickyKeySchema, { by });
}

function checkName(place: "header" | "cookie", name: string, report: (description: string) => void): void {
  const shown = `"${name.slice(0, 64)}"`;
  if (place === "cookie") {
    if (!COOKIE_NAME.test(name)) report(`${shown} is no name of a cookie.`);
  } else if (!FIELD_NAME.test(name)) report(`${shown} is no name of a field; write it in lower case.`);
}
