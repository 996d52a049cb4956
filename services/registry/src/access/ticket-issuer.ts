import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AccessSubject,
  type AccessVerdict,
  CALL_PERMISSION,
  type PolicyBook,
  subjectOf,
} from "@hms/authorization";
import { ffiOptions, type registry } from "@hms/contracts";
import { HmsError, isWithinScopes, livesElsewhere, type Principal, principalName } from "@hms/kernel";
import { LONGEST_TICKET_S, mintTicket, type TicketClaims, ticketAudience } from "@hms/tickets";
import type { ServiceKey } from "../service-key.ts";
import type { AccessStore } from "./access-store.ts";
import { type ContractMethod, contractMethods } from "./contract-methods.ts";
import type { Revocations } from "./revocations.ts";

type Methods = Map<string, ffiOptions.AuditLevel>;

const MOST_CONTRACTS = 1000;
/** Instances believe a ticket that is dated 5 s ahead of their own clock, which may differ. */
const MOST_AHEAD_S = 3;

interface TicketDates {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Who has asked for tickets, for which service, and as of when. */
export interface TicketRequest {
  readonly key: ServiceKey;
  readonly principal: Principal;
  readonly dates: TicketDates;
}

/** What may be called, and for how many seconds that holds: a second factor grows old. */
interface Allowed {
  readonly methods: Methods;
  readonly lifeS: number;
}

/** For how many seconds from now a verdict stays that allows something, 60 at most; 0: it does not allow it, or only just. */
function allowedForS(
  { allowed, readsAge }: AccessVerdict,
  subject: AccessSubject,
  judge: (subject: AccessSubject) => AccessVerdict,
): number {
  if (!allowed) return 0;
  const { mfaAgeS } = subject;
  if (!readsAge || mfaAgeS === undefined) return LONGEST_TICKET_S;
  const isAllowedIn = (seconds: number) => judge({ ...subject, mfaAgeS: mfaAgeS + seconds }).allowed;
  if (isAllowedIn(LONGEST_TICKET_S)) return LONGEST_TICKET_S;
  let [low, high] = [0, LONGEST_TICKET_S];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (isAllowedIn(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Writes the tickets that a lookup answers: what the policies in force let the asking principal call. */
export class TicketIssuer {
  readonly #book: PolicyBook;
  readonly #store: AccessStore;
  readonly #revocations: Revocations;
  readonly #contracts = new Map<string, ContractMethod[]>();

  constructor(book: PolicyBook, store: AccessStore, revocations: Revocations) {
    this.#book = book;
    this.#store = store;
    this.#revocations = revocations;
  }

  /**
   * Notes who asks and dates the tickets, at once: what is revoked while they are being written revokes them too. Undefined
   * if the principal gets none: its session has ended, or it has been revoked so often within seconds that no date is left.
   */
  ask(key: ServiceKey, principal: Principal): TicketRequest | undefined {
    const dates = this.#dates(principal, key);
    return dates && { key, principal, dates };
  }

  /**
   * One ticket for each of these instances of a service version; none if the principal may call nothing, as in any
   * environment but its own, or with a key that was not made for calls.
   * @throws HmsError UNAVAILABLE until all policies have been read
   */
  async issue(
    { key, principal, dates }: TicketRequest,
    instanceIds: readonly string[],
  ): Promise<MessageInitShape<typeof registry.TicketSchema>[]> {
    if (livesElsewhere(principal, key.environment) || !isWithinScopes(principal, CALL_PERMISSION)) return [];
    const { keys, contractSha256 } = await this.#store.ticketMaterial(key);
    const contract = contractSha256 === undefined ? undefined : await this.#contract(key, contractSha256);
    const judgedAtS = Math.floor(Date.now() / 1000);
    const { methods, lifeS } = contract
      ? this.#methodsOf(key, contract, principal)
      : this.#wholeService(key, principal);
    if (methods.size === 0) return [];
    const { issuedAt } = dates;
    // What was judged holds for that long from then on, whenever the ticket is dated.
    const expiresAt = Math.min(dates.expiresAt, judgedAtS + lifeS);
    return instanceIds.flatMap((instanceId) => {
      const ticketKey = keys.get(instanceId);
      if (ticketKey === undefined) return [];
      const claims = {
        id: randomUUID(),
        audience: ticketAudience({ ...key, instanceId }),
        principal,
        methods,
        issuedAt,
        expiresAt,
      };
      const ticket = mintShort(claims, ticketKey, contract ?? []);
      return [{ instanceId, ticket, expiresAt: timestampFromMs(expiresAt * 1000) }];
    });
  }

  /** At most 60 s from now and no longer than the principal's session. */
  #dates(principal: Principal, { serviceId }: ServiceKey): TicketDates | undefined {
    const nowS = Math.floor(Date.now() / 1000);
    const endsAtS = principal.endsAtMs === undefined ? Number.POSITIVE_INFINITY : Math.floor(principal.endsAtMs / 1000);
    const issuedAt = this.#revocations.dateS(principalName(principal), serviceId);
    if (issuedAt > nowS + MOST_AHEAD_S) return undefined;
    const expiresAt = Math.min(nowS + LONGEST_TICKET_S, endsAtS);
    return expiresAt > nowS ? { issuedAt, expiresAt } : undefined;
  }

  #methodsOf(key: ServiceKey, contract: readonly ContractMethod[], principal: Principal): Allowed {
    const subject = subjectOf(principal);
    const set = this.#book.current;
    const methods: Methods = new Map();
    let lifeS = LONGEST_TICKET_S;
    for (const { service, method, auditLevel } of contract) {
      const judge = (asked: AccessSubject) => set.judge(asked, { ...key, method });
      const verdict = judge(subject);
      const ownS = principal.kind === "operator" ? LONGEST_TICKET_S : allowedForS(verdict, subject, judge);
      if (ownS === 0) continue;
      methods.set(`${service}/${method}`, verdict.auditLevel || auditLevel);
      lifeS = Math.min(lifeS, ownS);
    }
    return { methods, lifeS };
  }

  /** Without a contract nobody knows the methods: all of them or none. */
  #wholeService(key: ServiceKey, principal: Principal): Allowed {
    const subject = subjectOf(principal);
    const judge = (asked: AccessSubject) => this.#book.current.judgeService(asked, key);
    const verdict = judge(subject);
    const lifeS = principal.kind === "operator" ? LONGEST_TICKET_S : allowedForS(verdict, subject, judge);
    if (lifeS === 0) return { methods: new Map(), lifeS };
    return { methods: new Map([["*", verdict.auditLevel || ffiOptions.AuditLevel.METADATA]]), lifeS };
  }

  async #contract(key: ServiceKey, sha256: string): Promise<ContractMethod[]> {
    const name = `${key.serviceId}/${key.version}/${sha256}`;
    const known = this.#contracts.get(name);
    if (known) return known;
    const bytes = await this.#store.contract(key);
    const methods = bytes === undefined ? [] : contractMethods(bytes, key);
    if (this.#contracts.size >= MOST_CONTRACTS) this.#contracts.clear();
    this.#contracts.set(name, methods);
    return methods;
  }
}

/** A ticket that would be too long names whole services where all their methods are allowed, at their highest level. */
function mintShort(claims: TicketClaims, key: Uint8Array, contract: readonly ContractMethod[]): string {
  try {
    return mintTicket(claims, key);
  } catch (error) {
    if (HmsError.from(error).details.reason !== "TICKET_TOO_LARGE") throw error;
    return mintTicket({ ...claims, methods: shortened(claims.methods, contract) }, key);
  }
}

function shortened(methods: TicketClaims["methods"], contract: readonly ContractMethod[]): Methods {
  const short: Methods = new Map(methods);
  for (const service of new Set(contract.map((each) => each.service))) {
    const names = contract.filter((each) => each.service === service).map(({ method }) => `${service}/${method}`);
    const levels = names.flatMap((name) => methods.get(name) ?? []);
    if (levels.length < names.length) continue;
    for (const name of names) short.delete(name);
    short.set(`${service}/*`, Math.max(...levels) as ffiOptions.AuditLevel);
  }
  return short;
}
