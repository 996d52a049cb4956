import type { ErrorReply } from "./error-reply.ts";
import type { Service } from "./service.ts";
import type { UpstreamFailure } from "./upstream-connection.ts";

/** What a client is told of a connection to a service that failed. */
export function replyFor(failure: UpstreamFailure, { name: service, absence }: Service, reason: string): ErrorReply {
  switch (failure) {
    case "timeout":
      return { status: 504, message: `"${service}" did not answer in time.` };
    case "connect":
      return {
        status: 503,
        message: absence ?? `No replica of "${service}" accepts connections (${reason}); try again in a second.`,
        fields: "retry-after: 1\r\n",
      };
    case "malformed":
      return { status: 502, message: `"${service}" answered with something that is not HTTP: ${reason}.` };
    default:
      return { status: 502, message: `"${service}" closed the connection before its answer was complete.` };
  }
}

/** What a client is told when nobody is there to answer. */
export function replyForNobody({ name, absence }: Service): ErrorReply {
  const message = absence ?? `No replica of "${name}" is ready for this request; try again in a second.`;
  return { status: 503, message, fields: "retry-after: 1\r\n" };
}

/** What a client is told while every replica is left alone, because it has answered badly. */
export function replyForOpenBreaker({ name }: Service, waitMs: number): ErrorReply {
  const seconds = Math.max(Math.ceil(waitMs / 1000), 1);
  const message = `All replicas of "${name}" have answered badly of late and are left alone; one is tried again in ${seconds} s.`;
  return { status: 503, message, fields: `retry-after: ${seconds}\r\n` };
}

/** What a client is told of an answer that was to be changed and could not be. */
export function replyForUnchanged({ name }: Service, problem: string): ErrorReply {
  return { status: 502, message: `The answer of "${name}" is to be changed on its way, and ${problem}.` };
}
