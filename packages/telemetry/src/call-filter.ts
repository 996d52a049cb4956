import { patternTest } from "@hms/authorization";
import type { calls } from "@hms/contracts";
import { type EndedCall, principalName } from "@hms/kernel";
import { methodNames } from "./method-names.ts";

/** What a filter looks at. */
export type TappableCall = Pick<EndedCall, "context" | "error" | "durationMs" | "input" | "auditLevel">;

const everything = () => true;
const test = (pattern: string) => (pattern === "" ? everything : patternTest(pattern));

/** Picks the calls that a request to tap asks for; a service is known by its id and by its contract's name. */
export function callFilter(request: calls.TapCallsRequest): (call: TappableCall) => boolean {
  const [isService, isMethod, isPrincipal] = [test(request.service), test(request.method), test(request.principal)];
  const { errorsOnly, environment } = request;
  return ({ context, error }) => {
    if (errorsOnly && error === undefined) return false;
    const { method, principal } = context;
    if (environment !== "" && method.environment !== environment) return false;
    const { service, name } = methodNames(method);
    return (isService(service) || isService(idOf(service))) && isMethod(name) && isPrincipal(principalName(principal));
  };
}

/** "hms.cdf.debate" of "hms.cdf.debate.v1.DebateService". */
function idOf(service: string): string {
  return service.replace(/\.[^.]*$/, "").replace(/\.v\d+(?:(?:alpha|beta)\d*)?$/, "");
}
