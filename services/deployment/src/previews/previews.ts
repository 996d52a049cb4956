import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { deployment } from "@hms/contracts";
import { type CallContext, type ChangeSignal, HmsError, principalName } from "@hms/kernel";
import type { ServiceAccess } from "../service-access.ts";
import { checkedName } from "../service-name.ts";
import type { ServiceKey } from "../service-record.ts";
import type { FilledPreview, PreviewRow, PreviewStore } from "./preview-store.ts";

const SHORTEST_MS = 60_000;
const LONGEST_MS = 30 * 24 * 60 * 60_000;
const USUAL_MS = 24 * 60 * 60_000;
/** Each has replicas, and is forgotten easily. */
const MOST_PREVIEWS = 50;
const DEFAULT_ENVIRONMENT = "default";

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
   * preview; RESOURCE_EXHAUSTED if there are too many; PERMISSION_DENIED to end services earlier that the caller may not remove
   */
  async set(request: deployment.SetPreviewRequest, context: CallContext) {
    const environment = checkedName("environment", request.environment);
    const expiresAt = new Date(this.#now() + lifetimeOf(request));
    const [found] = await this.#store.read(environment);
    if (found && request.lifetime === undefined) return { preview: shown(found) };
    if (found) await this.#move(found, expiresAt, context);
    else await this.#add(request, { environment, expiresAt }, context);
    this.#moved.notify();
    const [preview] = await this.#store.read(environment);
    if (preview === undefined) throw noPreview(environment);
    return { preview: shown(preview) };
  }

  async #add(
    request: deployment.SetPreviewRequest,
    { environment, expiresAt }: { environment: string; expiresAt: Date },
    { principal }: CallContext,
  ): Promise<void> {
    if (request.mustExist) throw noPreview(environment);
    const base = checkedName("environment", request.baseEnvironment || DEFAULT_ENVIRONMENT);
    if (base === environment || environment === DEFAULT_ENVIRONMENT || (await this.#store.isInUse(environment))) {
      throw inUse(environment);
    }
    const owner = principalName(principal);
    const row = { environment, base_environment: base, owner, expires_at: expiresAt };
    if (!(await this.#store.add(row, MOST_PREVIEWS))) throw tooMany();
  }

  async #move(found: FilledPreview, expiresAt: Date, context: CallContext): Promise<void> {
    if (expiresAt < found.expires_at) await this.#admitEnd(found, context);
    const { environment } = found;
    await this.#store.move(environment, { expires_at: expiresAt, ended_by: "" });
  }

  /** Ends a preview now. @throws HmsError NOT_FOUND, PERMISSION_DENIED if the caller may not remove one of its services */
  async end(request: deployment.EndPreviewRequest, context: CallContext) {
    const environment = checkedName("environment", request.environment);
    const [found] = await this.#store.read(environment);
    if (found === undefined) throw noPreview(environment);
    await this.#admitEnd(found, context);
    const now = new Date(this.#now());
    await this.#store.move(environment, { expires_at: now, ended_by: principalName(context.principal) });
    this.#moved.notify();
    return { preview: shown(found) };
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
      const services = preview.services.filter((service) =>
        filter.allows({ name: service.name, environment, facts: { owner: service.owner } }),
      );
      const isVisible = services.length > 0 || filter.allows({ name: "", environment, facts: { owner } });
      return isVisible ? [shown({ ...preview, services })] : [];
    });
    return { previews };
  }

  /**
   * Lets something be deployed in an environment; answers what should be known if that is a preview.
   * @throws HmsError FAILED_PRECONDITION if it has expired
   */
  async admit(environment: string): Promise<string[]> {
    const preview = await this.#store.find(environment);
    if (preview === undefined) return [];
    const { base_environment: base, expires_at: end } = preview;
    const at = end.toISOString();
    if (end.getTime() <= this.#now()) {
      throw new HmsError(
        "FAILED_PRECONDITION",
        `The preview "${environment}" has ended at ${at}, and its services are being removed. Extend it: hms-sys previews extend ${environment} --expires 24h.`,
        { reason: "PREVIEW_ENDED" },
      );
    }
    return [
      `"${environment}" is a preview of "${base}": it is removed at ${at}. Secrets, policies and other services of "${base}" are not there.`,
    ];
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
    `"${environment}" is an environment with services of its own, which would be removed with the preview. Choose another name.`,
    { reason: "ENVIRONMENT_IN_USE" },
  );

const tooMany = () =>
  new HmsError("RESOURCE_EXHAUSTED", `There are ${MOST_PREVIEWS} previews. End one: hms-sys previews end NAME.`, {
    reason: "TOO_MANY_PREVIEWS",
  });
