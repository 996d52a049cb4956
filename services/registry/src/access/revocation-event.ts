import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import type { TicketRevocation } from "@hms/tickets";

/** A revocation as watches hear of it. */
export function revokedEvent({
  principal,
  serviceId,
  issuedBeforeS,
}: TicketRevocation): MessageInitShape<typeof registry.WatchResponseSchema> {
  const issuedBefore = timestampFromMs(issuedBeforeS * 1000);
  return { kind: registry.WatchEventKind.REVOKED, revocation: { principal, serviceId, issuedBefore } };
}

const MOST_WAITING = 100;

/** Revocations that one watch has not been told of yet; beyond 100 they become one that revokes everything. */
export class WaitingRevocations {
  #waiting: TicketRevocation[] = [];

  add(revocation: TicketRevocation): void {
    this.#waiting.push(revocation);
    if (this.#waiting.length <= MOST_WAITING) return;
    const issuedBeforeS = Math.max(...this.#waiting.map((each) => each.issuedBeforeS));
    this.#waiting = [{ principal: "", serviceId: "", issuedBeforeS }];
  }

  /** The oldest; undefined if none waits. */
  take(): TicketRevocation | undefined {
    return this.#waiting.shift();
  }
}
