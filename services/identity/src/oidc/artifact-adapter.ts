import type { SealingKey } from "@hms/secrets";
import { type QueryResult, type RawBuilder, sql } from "kysely";
import { type Adapter, type AdapterPayload, errors } from "oidc-provider";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";
import { type Grant, scopesOf } from "./grant-scopes.ts";
import { forLibrary } from "./library-error.ts";

/**
 * A refresh token that was used may be used again for this long, because its answer can get lost and several windows of
 * one browser share it (Ory Hydra's graceful rotation).
 */
const GRACE = "10 seconds";

const digest = (text: unknown) => (typeof text === "string" ? sha256(text) : null);

/** Kinds whose content holds ids of others, or whose own id must be found again: they lie sealed. */
const SEALED: ReadonlySet<string> = new Set(["Interaction", "DeviceCode"]);

/**
 * Something after which a used refresh token is a stolen one: its grace is over, and a successor has left for its owner.
 * One whose answer never left, because the platform was killed, is nobody's.
 */
const IS_REPLAY = sql<boolean>`a.consumed_at < clock_timestamp() - ${GRACE}::interval and exists (
  select from oidc_artifact s where s.kind = 'RefreshToken' and s.grant_sha256 = a.grant_sha256
    and s.generation > a.generation and (s.delivered_at is not null or s.consumed_at is not null))`;

/** The scope without which nothing is refreshed any more, once it was taken away. */
const GOES_ON = "offline_access";

/** Content without scopes that its grant has lost since: neither codes nor refresh tokens bring them back. */
function within(content: AdapterPayload, withdrawn: ReadonlySet<string>): AdapterPayload {
  if (typeof content.scope !== "string" || withdrawn.size === 0) return content;
  const left = content.scope.split(" ").filter((scope) => !withdrawn.has(scope));
  return { ...content, scope: left.join(" ") };
}

/** What is kept with what, and who hears of what ends. */
interface ArtifactGround {
  readonly database: IdentityDatabase;
  readonly sealing: SealingKey;
  readonly changes: IdentityChanges;
}

/** Keeps what oidc-provider keeps in one table; ids, which are secrets, only as SHA-256. */
export class ArtifactAdapter implements Adapter {
  readonly #kind: string;
  readonly #database: IdentityDatabase;
  readonly #sealing: SealingKey;
  readonly #changes: IdentityChanges;

  constructor(kind: string, { database, sealing, changes }: ArtifactGround) {
    this.#kind = kind;
    this.#database = database;
    this.#sealing = sealing;
    this.#changes = changes;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void> {
    const { grantId, uid, accountId, userCode } = payload;
    const seconds = expiresIn === undefined ? null : `${expiresIn} seconds`;
    const generation = Number((payload as { rotations?: number }).rotations ?? 0);
    await this.#run(sql`insert into oidc_artifact
        (kind, id_sha256, payload, grant_sha256, account_id, uid, user_code_sha256, generation, delivered_at, expires_at)
      values (${this.#kind}, ${sha256(id)}, ${this.#kept(id, payload)}, ${digest(grantId)}, ${accountId ?? null}, ${uid ?? null},
        ${digest(userCode)}, ${generation}, null, clock_timestamp() + ${seconds}::interval)
      on conflict (kind, id_sha256) do update set payload = excluded.payload, grant_sha256 = excluded.grant_sha256,
        account_id = excluded.account_id, uid = excluded.uid, expires_at = excluded.expires_at`);
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    return this.#find(sql`id_sha256 = ${sha256(id)}`, { jti: id });
  }

  findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return this.#find(sql`uid = ${uid}`, {});
  }

  findByUserCode(userCode: string): Promise<AdapterPayload | undefined> {
    return this.#find(sql`user_code_sha256 = ${sha256(userCode)}`, { userCode });
  }

  async #find(is: RawBuilder<unknown>, known: AdapterPayload): Promise<AdapterPayload | undefined> {
    const { rows } = await this.#run(sql<{
      payload: AdapterPayload;
      id_sha256: Uint8Array;
      used: boolean;
      replay: boolean;
      grant: Grant | null;
    }>`
      select payload, id_sha256, consumed_at is not null as used, ${IS_REPLAY} as replay,
        (select g.payload from oidc_artifact g where g.kind = 'Grant' and g.id_sha256 = a.grant_sha256) as grant
      from oidc_artifact a
      where kind = ${this.#kind} and ${is} and (expires_at is null or expires_at > clock_timestamp())`);
    const [row] = rows;
    // Somebody who polls twice at the same time is no thief: the code is gone, its grant goes on.
    if (row === undefined || (this.#kind === "DeviceCode" && row.used)) return undefined;
    const { withdrawn } = scopesOf(row.grant ?? {});
    if (this.#kind === "RefreshToken" && withdrawn.has(GOES_ON)) return undefined;
    const consumed = this.#kind === "RefreshToken" ? row.replay : row.used;
    const content = within(this.#content(row.id_sha256, row.payload), withdrawn);
    return { ...content, ...known, ...(consumed ? { consumed: true } : {}) };
  }

  #context(idSha256: Uint8Array): string[] {
    return ["identity", "oidc", this.#kind, Buffer.from(idSha256).toString("hex")];
  }

  /** The text that is kept: ids are secrets, so the own one is left out or sealed. */
  #kept(id: string, payload: AdapterPayload): string {
    const { jti: _, userCode: __, ...kept } = payload;
    if (!SEALED.has(this.#kind)) return JSON.stringify(kept);
    const sealed = this.#sealing.seal(Buffer.from(JSON.stringify({ ...kept, jti: id })), this.#context(sha256(id)));
    return JSON.stringify({ sealed: sealed.toString("base64") });
  }

  #content(idSha256: Uint8Array, payload: AdapterPayload): AdapterPayload {
    if (!("sealed" in payload)) return payload;
    const opened = this.#sealing.open(Buffer.from(String(payload.sealed), "base64"), this.#context(idSha256));
    return JSON.parse(opened.toString()) as AdapterPayload;
  }

  /**
   * Marks something as used: a code once, however many ask at the same time; a refresh token with all that were made
   * beside it, so that of several windows, or of a thief and his victim, only one chain goes on.
   * @throws errors.InvalidGrant if somebody else was first.
   */
  async consume(id: string): Promise<void> {
    if (this.#kind === "RefreshToken") return this.#rotate(id);
    const { numAffectedRows } = await this.#run(sql`update oidc_artifact set consumed_at = clock_timestamp()
      where kind = ${this.#kind} and id_sha256 = ${sha256(id)} and consumed_at is null`);
    if (numAffectedRows !== 1n) throw new errors.InvalidGrant(`${this.#kind} already consumed`);
  }

  /** Locks in the order of {@link #endGrant}: two windows that rotate at once would wait for each other for ever. */
  async #rotate(id: string): Promise<void> {
    const { rows } = await this.#run(sql`update oidc_artifact set consumed_at = coalesce(consumed_at, clock_timestamp())
      where (kind, id_sha256) in (
        select t.kind, t.id_sha256 from oidc_artifact a join oidc_artifact t
          on t.kind = 'RefreshToken' and t.grant_sha256 = a.grant_sha256 and t.generation <= a.generation
        where a.kind = 'RefreshToken' and a.id_sha256 = ${sha256(id)} and (${IS_REPLAY}) is not true
        order by t.kind, t.id_sha256 for update of t)
      returning 1`);
    if (rows.length === 0) throw new errors.InvalidGrant("refresh token already used");
  }

  /** Forgets something; with a refresh token or a grant everything of that login, in one statement. */
  async destroy(id: string): Promise<void> {
    const digested = sha256(id);
    if (this.#kind === "Grant") return this.#endGrant(sql`${digested}::bytea`);
    if (this.#kind === "RefreshToken") {
      return this.#endGrant(
        sql`(select grant_sha256 from oidc_artifact where kind = 'RefreshToken' and id_sha256 = ${digested})`,
      );
    }
    await this.#run(sql`delete from oidc_artifact where kind = ${this.#kind} and id_sha256 = ${digested}`);
  }

  /** Ends a login. The library asks each kind to end its part; a kill in between would leave half, so the first ends all. */
  async revokeByGrantId(grantId: string): Promise<void> {
    if (this.#kind === "AccessToken") await this.#endGrant(sql`${sha256(grantId)}::bytea`);
  }

  /** Whatever the reason, everybody hears that the tokens of that login have ended. */
  async #endGrant(grant: RawBuilder<unknown>): Promise<void> {
    // In one order, because the library asks several times at once.
    const { rows } = await this.#run(sql<{
      account_id: string | null;
    }>`delete from oidc_artifact where (kind, id_sha256) in (
      select kind, id_sha256 from oidc_artifact
      where grant_sha256 = ${grant} or (kind = 'Grant' and id_sha256 = ${grant})
      order by kind, id_sha256 for update) returning account_id`);
    const accounts = new Set(rows.map(({ account_id: account }) => account).filter((account) => account !== null));
    for (const account of accounts) await this.#changes.tell({ account });
  }

  #run<T>(query: RawBuilder<T>): Promise<QueryResult<T>> {
    return forLibrary(query.execute(this.#database.db));
  }
}
