import { Admission } from "./admission.ts";
import { BodyEdit } from "./body-changes.ts";
import type {
  Caller,
  CallerAnswer,
  CallerCertificate,
  CallerMemo,
  CallerQuestion,
  CallerSource,
  KnownCaller,
} from "./caller.ts";
import type { ClientCertificate } from "./client-certificate.ts";
import { clientNetwork } from "./client-network.ts";
import type { ErrorReply } from "./error-reply.ts";
import { FieldEdit } from "./field-changes.ts";
import type { LimitBook, LimitCounter } from "./limit-book.ts";
import type { RateVerdict } from "./rate-limit.ts";
import type { RouteAuth, RouteRules } from "./route-rules.ts";

/** What a gate looks at. */
export interface Visit {
  readonly method: string;
  /** The value of Authorization, "" if there is none; two of them are none that can be used. */
  readonly authorization: string;
  readonly address: string;
  /** What the client has shown at the handshake; null: nothing that counts here. */
  readonly certificate: ClientCertificate | null;
  /** What the connection's last request has shown. */
  readonly memo: CallerMemo;
}

/** Which route a gate is for, and what it asks. */
export interface GateGround {
  readonly environment: string;
  /** Unique among the routes of an engine. */
  readonly id: string;
  readonly limits: LimitBook;
  readonly callers: CallerSource | undefined;
}

type Later<T> = T | Promise<T>;

const BEARER = /^bearer +([\w\-.~+/]+=*) *$/i;
/** As nearly everybody writes it: what is behind the seventh character is the token. */
const PLAIN_BEARER = /^Bearer [\w\-.~+/]+=*$/;
const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
/** Nobody could say who calls: no key of anybody. */
const NOBODY = "";

/** The rules of one route, ready to be asked: who comes in, how often, and what is changed on the way. */
export class RouteGate {
  readonly rules: RouteRules;
  readonly environment: string;
  readonly requestEdit: FieldEdit | null;
  readonly responseEdit: FieldEdit | null;
  readonly requestBody: BodyEdit | null;
  readonly responseBody: BodyEdit | null;
  /** The RateLimit-Policy field, with its line end. */
  readonly policyField: string;
  readonly #callers: CallerSource | undefined;
  readonly #limits: LimitBook;
  /** Those that are asked before, and after the caller is known. */
  readonly #early: readonly NamedCounter[];
  readonly #late: readonly NamedCounter[];

  constructor(rules: RouteRules, { environment, id, limits, callers }: GateGround) {
    this.rules = rules;
    this.environment = environment;
    this.#callers = callers;
    this.#limits = limits;
    this.requestEdit = requestEditOf(rules);
    this.requestBody = rules.requestBody ? new BodyEdit(rules.requestBody) : null;
    this.responseBody = rules.responseBody ? new BodyEdit(rules.responseBody) : null;
    this.responseEdit = rules.responseFields ? new FieldEdit(rules.responseFields) : null;
    const named = (rules.limits ?? []).map((limit, index) => ({
      name: `"${limit.by}${index === 0 ? "" : `-${index + 1}`}"`,
      counter: limits.counter(`${id} ${index}`, limit),
    }));
    const isLate = ({ counter }: NamedCounter) => counter.limit.by === "principal" || counter.limit.by === "credential";
    this.#early = named.filter((each) => !isLate(each));
    this.#late = named.filter(isLate);
    const policies = named
      .filter(({ counter }) => counter.rate !== null)
      .map(({ name, counter: { limit } }) => `${name};q=${limit.count};w=${Math.ceil(limit.periodMs / 1000)}`);
    this.policyField = policies.length === 0 ? "" : `ratelimit-policy: ${policies.join(", ")}\r\n`;
  }

  /** Lets a request in or refuses it; at once, unless somebody has to be asked. */
  admit(visit: Visit): Later<Admission> {
    const admission = new Admission();
    if (this.rules.unknown !== undefined) return admission.refuse(unknownRules(this.rules.unknown));
    if (this.#early.length === 0) return this.#identify(visit, admission);
    return after(this.#count(this.#early, visit, admission), () => this.#identify(visit, admission));
  }

  #identify(visit: Visit, admission: Admission): Later<Admission> {
    const { auth } = this.rules;
    if (admission.refusal !== null) return admission;
    if (auth === undefined) return this.#count(this.#late, visit, admission);
    if (visit.authorization === "" && visit.certificate !== null)
      return this.#identifyCertificate(visit, admission, auth);
    if (visit.authorization === "") {
      return auth.isOptional ? this.#count(this.#late, visit, admission) : admission.refuse(challenge("none"));
    }
    const token = tokenOf(visit);
    if (token === undefined) return admission.refuse(challenge("unusable"));
    return this.#ask({ token }, { auth, visit, admission });
  }

  #identifyCertificate(visit: Visit, admission: Admission, auth: RouteAuth): Later<Admission> {
    const found = callerCertificate(visit.certificate, Date.now());
    if (typeof found === "string") return admission.refuse(badCertificate(found));
    return this.#ask({ token: "", certificate: found }, { auth, visit, admission });
  }

  #ask(shown: Pick<CallerQuestion, "token" | "certificate">, asking: Asking): Later<Admission> {
    const { auth, visit, admission } = asking;
    if (this.#callers === undefined) return admission.refuse(unavailable("Nobody here knows callers."));
    const { permission } = auth;
    const question = { ...shown, permission, isSafe: SAFE.has(visit.method), address: visit.address, memo: visit.memo };
    const answer = this.#callers.find(question);
    return answer instanceof Promise ? answer.then((found) => this.#judge(found, asking)) : this.#judge(answer, asking);
  }

  #judge(answer: CallerAnswer, { auth, visit, admission }: Asking): Later<Admission> {
    if (answer.kind === "unknown" && visit.authorization === "") {
      return admission.refuse(badCertificate("whom it names is not known here, or may not come in any more"));
    }
    if (answer.kind !== "known") return admission.refuse(refusalOf(answer));
    admission.principal = answer.caller.name;
    if (answer.passed !== this) {
      const denial = this.#denialOf(auth, answer.caller);
      if (denial !== undefined) return admission.refuse(denial);
      // A second factor that is young enough now may not be so the next time.
      if (auth.mfaMaxAgeMs === 0) answer.passed = this;
    }
    admission.caller = answer;
    admission.visit = visit;
    admission.hidesCredentials = true;
    return this.#late.length === 0 ? admission : this.#count(this.#late, visit, admission);
  }

  /** As whom somebody would be let in now who was let in before; false: not any more, undefined: nobody can say. */
  async letsInStill({ authorization, certificate, address }: Visit): Promise<KnownCaller | false | undefined> {
    const { auth } = this.rules;
    if (auth === undefined || this.#callers === undefined) return false;
    const shown = authorization === "" ? callerCertificate(certificate, Date.now()) : tokenIn(authorization);
    if (shown === undefined || (authorization === "" && typeof shown === "string")) return false;
    const credentials = typeof shown === "string" ? { token: shown } : { token: "", certificate: shown };
    const { permission } = auth;
    const answer = await this.#callers.find({ ...credentials, permission, isSafe: true, address });
    if (answer.kind === "unavailable") return undefined;
    return answer.kind === "known" && this.#denialOf(auth, answer.caller) === undefined ? answer : false;
  }

  #denialOf(auth: RouteAuth, caller: Caller): ErrorReply | undefined {
    if (caller.environment !== "" && caller.environment !== this.environment) {
      return forbidden("environment", `Your credentials are for the environment "${caller.environment}" only.`);
    }
    if (auth.permission !== "" && !caller.isPermitted)
      return forbidden("permission", `This takes the permission ${auth.permission}.`);
    if (auth.permission === "" && !caller.isWithinScopes) {
      return forbidden("scopes", "What you have shown is limited to permissions of which services:call is none.");
    }
    if (auth.roles.length > 0 && !auth.roles.some((role) => caller.roles.includes(role))) {
      return forbidden("roles", `This takes one of the roles ${auth.roles.join(", ")}.`);
    }
    return factorDenial(auth, caller, Date.now());
  }

  #count(counters: readonly NamedCounter[], visit: Visit, admission: Admission): Later<Admission> {
    let done: Later<Admission> = admission;
    for (const { name, counter } of counters) {
      const key = keyOf(counter, visit, admission);
      done = after(done, () => this.#countOne({ name, counter, key }, admission));
    }
    return done;
  }

  #countOne(named: NamedCounter & { key: string }, admission: Admission): Later<Admission> {
    const { name, counter, key } = named;
    if (admission.refusal !== null) return admission;
    const { concurrency } = counter.limit;
    if (concurrency === 0) return this.#countRate(named, admission);
    if (!admission.take(counter, key)) return admission.refuse(tooManyAtOnce(name, concurrency));
    const place = this.#limits.shared?.begin(`${counter.id} ${key}`, concurrency);
    if (place === undefined) return this.#countRate(named, admission);
    admission.keep(place);
    if (place.granted === true) return this.#countRate(named, admission);
    return place.granted.then((isGranted) =>
      isGranted ? this.#countRate(named, admission) : admission.refuse(tooManyAtOnce(name, concurrency)),
    );
  }

  #countRate({ name, counter, key }: NamedCounter & { key: string }, admission: Admission): Later<Admission> {
    if (counter.rate === null) return admission;
    return after(this.#rate(counter, key), (verdict) => this.#note(verdict, name, admission));
  }

  #rate(counter: LimitCounter, key: string): Later<RateVerdict> {
    const local = () => (counter.rate as NonNullable<LimitCounter["rate"]>).take(key, performance.now());
    const shared = this.#limits.shared?.take(`${counter.id} ${key}`, counter.limit);
    if (shared === undefined) return local();
    // Counted here too: if the others are lost, what was used up stays used up.
    return shared.then((verdict) => {
      if (verdict.isAllowed) local();
      return verdict;
    }, local);
  }

  #note(verdict: RateVerdict, name: string, admission: Admission): Admission {
    // Times are fractions: a millionth of a second more is none.
    const seconds = (ms: number) => Math.ceil(ms / 1000 - 1e-6);
    const member = `${name};r=${verdict.remaining};t=${seconds(verdict.resetMs)}`;
    admission.rates = admission.rates === "" ? member : `${admission.rates}, ${member}`;
    if (verdict.isAllowed) return admission;
    const wait = Math.max(seconds(verdict.retryAfterMs), 1);
    const fields = `${this.policyField}ratelimit: ${admission.rates}\r\nretry-after: ${wait}\r\n`;
    const message = `Too many requests; the next one may come in ${wait} s.`;
    return admission.refuse({ status: 429, message, fields, rule: limitRule(name) });
  }
}

/** With what a caller is looked up. */
interface Asking {
  readonly auth: RouteAuth;
  readonly visit: Visit;
  readonly admission: Admission;
}

interface NamedCounter {
  readonly name: string;
  readonly counter: LimitCounter;
}

function after<T, U>(value: Later<T>, next: (value: T) => Later<U>): Later<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

function tokenIn(authorization: string): string | undefined {
  return PLAIN_BEARER.test(authorization) ? authorization.slice(7) : BEARER.exec(authorization)?.[1];
}

function tokenOf({ authorization, memo }: Visit): string | undefined {
  if (memo.authorization === authorization) return memo.token;
  const token = tokenIn(authorization);
  if (token === undefined) return undefined;
  memo.authorization = authorization;
  memo.token = token;
  memo.known = null;
  return token;
}

function keyOf({ limit }: LimitCounter, visit: Visit, { caller }: Admission): string {
  if (limit.by === "route") return NOBODY;
  if (caller === null || limit.by === "address") return clientNetwork(visit.address);
  return limit.by === "principal" ? caller.caller.name : caller.digest;
}

const REALM = 'www-authenticate: Bearer realm="hms-sys"';

function challenge(shown: "none" | "unusable" | "unknown"): ErrorReply {
  const rule = "credentials";
  if (shown === "none")
    return { status: 401, message: "Say who calls: authorization: Bearer TOKEN.", fields: `${REALM}\r\n`, rule };
  const message =
    shown === "unusable"
      ? "The Authorization field is not of the form: Bearer TOKEN."
      : "The token is not known here, or has ended.";
  return { status: 401, message, fields: `${REALM}, error="invalid_token"\r\n`, rule };
}

/** What of a certificate is asked about; a text: why it is good for nothing. */
function callerCertificate(certificate: ClientCertificate | null, now: number): CallerCertificate | string {
  if (certificate === null) return "there is none";
  if (certificate.kind === "refused") return certificate.reason;
  const { uris, fingerprint, endsAtMs } = certificate;
  // Connections may stand for longer than what they began with.
  if (endsAtMs <= now) return "it has ended";
  const [uri, another] = uris;
  if (uri === undefined || another !== undefined) return "it names nobody by one SPIFFE id";
  return { uri, fingerprint, endsAtMs };
}

function badCertificate(why: string): ErrorReply {
  const message = `Your client certificate is not accepted: ${why}.`;
  return { status: 401, message, fields: `${REALM}\r\n`, rule: "certificate" };
}

/** A limit by the name that the RateLimit field has for it, without the quotes. */
const limitRule = (name: string) => `limit:${name.slice(1, -1)}`;

function tooManyAtOnce(name: string, concurrency: number): ErrorReply {
  const message = `${concurrency} requests of yours run at the same time already; wait for one to end.`;
  return { status: 429, message, fields: "retry-after: 1\r\n", rule: limitRule(name) };
}

function forbidden(rule: string, message: string): ErrorReply {
  return { status: 403, message, fields: `${REALM}, error="insufficient_scope"\r\n`, rule };
}

/** What is missing of a second factor, as RFC 9470 asks for it. */
function factorDenial({ needsMfa, mfaMaxAgeMs }: RouteAuth, caller: Caller, nowMs: number): ErrorReply | undefined {
  if (!needsMfa) return undefined;
  const isTooOld = mfaMaxAgeMs > 0 && nowMs - caller.authenticatedAtMs > mfaMaxAgeMs;
  if (caller.hasMfa && !isTooOld) return undefined;
  const maxAgeS = Math.floor(mfaMaxAgeMs / 1000);
  const message = caller.hasMfa
    ? `This takes a second factor that was shown at most ${maxAgeS} s ago. Sign in again.`
    : "This takes a second factor.";
  const age = maxAgeS === 0 ? "" : `, max_age="${maxAgeS}"`;
  const fields = `${REALM}, error="insufficient_user_authentication"${age}\r\n`;
  return { status: 403, message, fields, rule: "mfa" };
}

function unknownRules(names: readonly string[]): ErrorReply {
  const message = `This route asks for what this gateway does not know (${names.join(", ")}): its data plane is older than the server. Upgrade it.`;
  return { status: 503, message, fields: "retry-after: 5\r\n" };
}

/** What of a request would make an answer one that cannot be changed, or says what only the gateway may say. */
function requestEditOf({ requestFields, responseBody, rewrite }: RouteRules): FieldEdit | null {
  const own = [
    ...(responseBody ? ["accept-encoding", "range", "if-range"] : []),
    ...(rewrite ? ["x-forwarded-prefix"] : []),
  ];
  if (requestFields === undefined && own.length === 0) return null;
  const { set = {}, remove = [], ...rest } = requestFields ?? {};
  return new FieldEdit({ ...rest, set, remove: [...remove, ...own] });
}

function unavailable(message: string): ErrorReply {
  return { status: 503, message, fields: "retry-after: 1\r\n" };
}

function refusalOf(answer: Exclude<CallerAnswer, { kind: "known" }>): ErrorReply {
  if (answer.kind === "unavailable") return unavailable(answer.message);
  if (answer.kind === "unknown") return challenge("unknown");
  const message = "Too many unknown tokens came from your address.";
  return { status: 429, message, fields: `retry-after: ${answer.retryAfterS}\r\n`, rule: "unknown-tokens" };
}
