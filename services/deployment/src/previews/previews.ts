import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { deployment } from "@hms/contracts";
import { type CallContext, type ChangeSignal, HmsError, principalName } from "@hms/kernel";
import type { NewRollout } from "../rollout-journal.ts";
import type { ServiceAccess } from "../service-access.ts";
import { checkedName } from "../service-name.ts";
import type { ServiceKey } from "../service-record.ts";
import { type FilledPreview, findPreview, type PreviewRow, type PreviewStore } from "./preview-store.ts";

const SHORTEST_MS = 60_000;
const LONGEST_MS = 30 * 24 * 60 * 60_000;
const USUAL_MS = 24 * 60 * 60_000;
/** Each has replicas, and is forgotten easily. */
const MOST_PREVIEWS = 50;
const DEFAULT_ENVIRONMENT = "default";

/** Looks again whether something may be deployed, in the transaction that writes it down. @throws HmsError */
type PreviewCheck = NonNullable<NewRollout["admit"]>;

interface PreviewParts {
  store: PreviewStore;
  access: ServiceAccess;
  /** Notified when the end of one was moved. */
  moved: ChangeSignal;
  /** Epoch milliseconds. */
  now: () => number;
}

/** Environments that end by themselves, as people ask for them. */
export class Previews {
  readonly #store: PreviewStore;
  readonly #access: ServiceAccess;
  readonly #moved: ChangeSignal;
  readonly #now: () => number;

  constructor({ store, access, moved, now }: PreviewParts) {
    this.#store = store;
    this.#access = access;
    this.#moved = moved;
    this.#now = now;
  }

  /**
   * Makes an environment a preview, or moves its end.
   * @throws HmsError INVALID_ARGUMENT; NOT_FOUND if it must exist; FAILED_PRECONDITION for an environment that is in use and no
   * preview; RESOURCE_EXHAUSTED if there are too many; PERMISSION_DENIED to end services earlier that the caller may not remove;
   * ABORTED if somebody else has moved its end at the same moment
   */
  async set(
    request: deployment.SetPreviewRequest,
    context: CallContext,
  ): Promise<MessageInitShape<typeof deployment.SetPreviewResponseSchema>> {
    const environment = checkedName("environment", request.environment);
    const expiresAt = new Date(this.#now() + lifetimeOf(request));
    const [found] = await this.#store.read(environment);
    const isDone = found
      ? await this.#change(found, request.lifetime && expiresAt, context)
      : await this.#add(request, { environment, expiresAt }, context);
    // Somebody else has made it, or it was over, meanwhile.
    if (!isDone) return this.set(request, context);
    this.#moved.notify();
    const [preview] = await this.#store.read(environment);
    if (preview === undefined) throw noPreview(environment);
    const isRevived = found && request.lifetime && found.expires_at.getTime() <= this.#now();
    return {
      preview: shownFor(preview, context),
      warnings: isRevived ? await this.#goingOn(environment, context) : [],
    };
  }

  /** What an extension comes too late for. */
  async #goingOn(environment: string, context: CallContext): Promise<string[]> {
    const names = visible(environment, await this.#store.removing(environment), context);
    if (names.length === 0) return [];
    const which = names.map(({ name }) => `"${name}"`).join(", ");
    return [`It had ended: the removal of ${which} has begun, and goes on. Deploy it again afterwards.`];
  }

  /** False if there is one already. */
  async #add(
    request: deployment.SetPreviewRequest,
    { environment, expiresAt }: { environment: string; expiresAt: Date },
    { principal }: CallContext,
  ): Promise<boolean> {
    if (request.mustExist) throw noPreview(environment);
    const base = checkedName("environment", request.baseEnvironment || DEFAULT_ENVIRONMENT);
    if (base === environment || environment === DEFAULT_ENVIRONMENT) throw inUse(environment);
    const owner = principalName(principal);
    const row = { environment, base_environment: base, owner, expires_at: expiresAt };
    const added = await this.#store.add(row, MOST_PREVIEWS);
    if (added === "in use") throw inUse(environment);
    if (added === "too many") throw tooMany();
    return added === "added";
  }

  /** Without an end it stays where it is. False if there is no such preview any more. */
  async #change(found: FilledPreview, expiresAt: Date | undefined, context: CallContext): Promise<boolean> {
    if (expiresAt === undefined) return this.#store.renew(found.environment);
    if (expiresAt < found.expires_at) await this.#admitEnd(found, context);
    await this.#move(found, { expires_at: expiresAt, ended_by: "" });
    return true;
  }

  async #move(found: PreviewRow, change: Pick<PreviewRow, "expires_at" | "ended_by">): Promise<void> {
    if (!(await this.#store.move(found, change))) throw movedMeanwhile(found.environment);
  }

  /**
   * Ends a preview now.
   * @throws HmsError NOT_FOUND, PERMISSION_DENIED if the caller may not remove one of its services, ABORTED if somebody else has
   * moved its end at the same moment
   */
  async end(request: deployment.EndPreviewRequest, context: CallContext) {
    const environment = checkedName("environment", request.environment);
    const [found] = await this.#store.read(environment);
    if (found === undefined) throw noPreview(environment);
    await this.#admitEnd(found, context);
    const now = new Date(this.#now());
    await this.#move(found, { expires_at: now, ended_by: principalName(context.principal) });
    this.#moved.notify();
    return { preview: shownFor(found, context) };
  }

  async #admitEnd({ environment, services }: FilledPreview, context: CallContext): Promise<void> {
    for (const { name } of services)
      await this.#access.admit(context, "services:delete", { environment, service: name });
  }

  /** Those of which the caller may read the environment, or what is there. */
  async list({ baseEnvironment }: deployment.ListPreviewsRequest, context: CallContext) {
    if (baseEnvironment !== "") checkedName("environment", baseEnvironment);
    const filter = context.filter("services:read");
    const all = await this.#store.read();
    const previews = all.flatMap((preview) => {
      const { environment, owner } = preview;
      if (baseEnvironment !== "" && preview.base_environment !== baseEnvironment) return [];
      const services = visible(environment, preview.services, context);
      const isVisible = services.length > 0 || filter.allows({ name: "", environment, facts: { owner } });
      return isVisible ? [shown({ ...preview, services })] : [];
    });
    return { previews };
  }

  /**
   * Lets something be deployed in an environment; answers what should be known if that is a preview, and what looks again
   * when the deploy is written down.
   * @throws HmsError FAILED_PRECONDITION if it has expired
   */
  async admit(environment: string): Promise<{ warnings: string[]; again: PreviewCheck }> {
    const preview = await this.#store.find(environment);
    this.#refuseEnded(preview);
    const again: PreviewCheck = async (trx) => {
      const now = await findPreview(trx, environment);
      if (preview && now === undefined) throw ended(preview);
      if (preview === undefined && now) throw madePreview(environment);
      this.#refuseEnded(now);
    };
    if (preview === undefined) return { warnings: [], again };
    const { base_environment: base, expires_at: end } = preview;
    const warning = `"${environment}" is a preview of "${base}": it is removed at ${end.toISOString()}. Secrets, policies and other services of "${base}" are not there.`;
    return { warnings: [warning], again };
  }

  #refuseEnded(preview: PreviewRow | undefined): void {
    if (preview && preview.expires_at.getTime() <= this.#now()) throw ended(preview);
  }

  /** The service that a preview shows another version of, if the caller may deploy that, too. */
  async shownTo(context: CallContext, { environment, service }: ServiceKey): Promise<ServiceKey | undefined> {
    const preview = await this.#store.find(environment);
    if (preview === undefined) return undefined;
    const key = { environment: preview.base_environment, service };
    return (await this.#access.allows(context, "services:deploy", key)) ? key : undefined;
  }
}

function lifetimeOf({ lifetime }: deployment.SetPreviewRequest): number {
  const ms = lifetime === undefined ? USUAL_MS : durationMs(lifetime);
  if (ms >= SHORTEST_MS && ms <= LONGEST_MS) return ms;
  const description = "It must be a minute at least and 30 days at most; extend a preview that is to stay longer.";
  throw new HmsError("INVALID_ARGUMENT", `lifetime: ${description}`, {
    fieldViolations: [{ field: "lifetime", description }],
  });
}

/** Of services of an environment those that the caller may read. */
function visible(environment: string, services: FilledPreview["services"], context: CallContext) {
  const filter = context.filter("services:read");
  return services.filter(({ name, owner }) => filter.allows({ name, environment, facts: { owner } }));
}

const shownFor = (preview: FilledPreview, context: CallContext) =>
  shown({ ...preview, services: visible(preview.environment, preview.services, context) });

function shown({ environment, base_environment, owner, services, ...times }: FilledPreview) {
  return {
    environment,
    baseEnvironment: base_environment,
    owner,
    services: services.map(({ name }) => name),
    expiresAt: timestampFromDate(times.expires_at),
    createdAt: timestampFromDate(times.created_at),
  };
}

/** Why the services of a preview are removed. */
export const endReason = ({ environment, ended_by: by }: PreviewRow): string =>
  by === "" ? `the preview "${environment}" has expired` : `the preview "${environment}" was ended by ${by}`;

const noPreview = (environment: string) =>
  new HmsError("NOT_FOUND", `There is no preview "${environment}". List them with: hms-sys previews`, {
    reason: "PREVIEW_NOT_FOUND",
  });

const inUse = (environment: string) =>
  new HmsError(
    "FAILED_PRECONDITION",
    `"${environment}" is an environment with services, secrets or freezes of its own, which would be removed with the preview. Choose another name; secrets of a preview are set when it is there.`,
    { reason: "ENVIRONMENT_IN_USE" },
  );

const ended = ({ environment, expires_at: at }: PreviewRow) =>
  new HmsError(
    "FAILED_PRECONDITION",
    `The preview "${environment}" has ended, by ${at.toISOString()} at the latest, and what is in it is removed. Extend it: hms-sys previews extend ${environment} --expires 24h; or make it anew by: hms-sys deploy --preview ${environment}.`,
    { reason: "PREVIEW_ENDED" },
  );

const madePreview = (environment: string) =>
  new HmsError(
    "ABORTED",
    `"${environment}" has become a preview at this moment: what is deployed there will be removed. Deploy again if that is right, else choose another name.`,
    { reason: "PREVIEW_MADE" },
  );

/** ABORTED: the end of a preview is not where it was when it was read. */
export const movedMeanwhile = (environment: string) =>
  new HmsError(
    "ABORTED",
    `Somebody else has moved the end of the preview "${environment}" at this moment. See what it is by hms-sys previews, and try again.`,
    { reason: "PREVIEW_MOVED" },
  );

const tooMany = () =>
  new HmsError("RESOURCE_EXHAUSTED", `There are ${MOST_PREVIEWS} previews. End one: hms-sys previews end NAME.`, {
    reason: "TOO_MANY_PREVIEWS",
  });
