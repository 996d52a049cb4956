import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { agent } from "@hms/contracts";
import { keepFile } from "@hms/kept-files";
import type { HmsError } from "@hms/kernel";
import { type Manifest, secretPieces } from "@hms/manifest";
import type { ServiceDatabase } from "@hms/postgres";
import { type SealingKey, sealedBy, serviceSecretContext } from "@hms/secrets";
import { sql } from "kysely";
import type { DeploymentTables } from "../tables.ts";
import { destroyedVersions, noSealingKey, noSuchVersion, notResealed } from "./secret-errors.ts";
import { addVersion, readDeployedVersions, readVersions, type SecretKey, type StoredVersion } from "./secret-store.ts";
import type { SecretVersions } from "./secret-tables.ts";

/** What a vault stands on. */
export interface VaultGround {
  database: ServiceDatabase<DeploymentTables>;
  /** Undefined: nothing can be set or revealed. */
  sealing: SealingKey | undefined;
  /** Where they are kept, sealed, for a server that starts while the database is away; default: nowhere. */
  file?: string | undefined;
}

/** Secrets as a runtime gets them: sealed, with the variables that they are put together to. */
export type ProgramSecrets = Required<
  Pick<Exclude<MessageInitShape<typeof agent.ReplicaSpecSchema>, { $typeName: string }>, "secretVariables" | "secrets">
>;

const AT_ONCE = 500;
const NONE: ProgramSecrets = { secretVariables: [], secrets: [] };

const contextOf = ({ environment, name }: SecretKey, version: number) =>
  serviceSecretContext({ environment, name, version });
const placeOf = ({ environment, name }: SecretKey, version: number) => `${environment}/${name}/${version}`;

/**
 * Values of secrets, sealed by the installation's key. Those of services that are known are kept in memory as they are, sealed,
 * so that replicas start while the database is away, and in a file if there is a place for one.
 */
export class SecretVault {
  readonly #database: VaultGround["database"];
  readonly #sealing: SealingKey | undefined;
  readonly #file: string | undefined;
  readonly #sealed: Map<string, Buffer>;
  #saving: Promise<void> = Promise.resolve();

  constructor({ database, sealing, file }: VaultGround) {
    this.#database = database;
    this.#sealing = sealing;
    this.#file = file;
    this.#sealed = new Map(file === undefined ? [] : readKept(file));
  }

  /** Gives a secret a new version, and answers with its number. */
  set(key: SecretKey & { setBy: string }, value: string): Promise<number> {
    const sealing = this.#key;
    return addVersion(this.#database, key, (version) => sealing.seal(Buffer.from(value), contextOf(key, version)));
  }

  /** The value of a version; 0: of the newest one. @throws HmsError NOT_FOUND */
  async reveal(key: SecretKey, version: number): Promise<{ version: number; value: string }> {
    const versions = await readVersions(this.#database.db, [key]);
    const found = version === 0 ? versions[0] : versions.find((each) => each.version === version);
    if (found?.sealed === undefined) throw noSuchVersion(key.name, version, versions.map(numberOf).reverse());
    return { version: found.version, value: this.#key.open(found.sealed, contextOf(key, found.version)).toString() };
  }

  /** What a program of a revision is given. @throws HmsError FAILED_PRECONDITION if a version was destroyed */
  async of(
    { environment, service }: { environment: string; service: string },
    { manifest, secrets: versions }: { manifest: Manifest; secrets: SecretVersions },
  ): Promise<ProgramSecrets> {
    const wanted = Object.entries(versions).map(([name, version]) => ({ environment, name, version }));
    if (wanted.length === 0) return NONE;
    await this.#load(wanted);
    const there = wanted.flatMap(({ name, version }) => {
      const sealed = this.#sealed.get(placeOf({ environment, name }, version));
      return sealed === undefined ? [] : [{ name, version: BigInt(version), sealed: new Uint8Array(sealed) }];
    });
    const missing = wanted.filter(({ name }) => !there.some((each) => each.name === name));
    if (missing.length > 0) throw destroyedVersions(service, missing);
    const secretVariables = Object.entries(manifest.secrets).map(([name, template]) => ({
      name,
      pieces: secretPieces(template).map((piece) => ({
        piece:
          "text" in piece
            ? { case: "text" as const, value: piece.text }
            : { case: "secret" as const, value: piece.secret },
      })),
    }));
    return { secretVariables, secrets: there };
  }

  /** Keeps in memory what revisions were deployed with, so that they run, or run again, while the database is away. */
  async preload(): Promise<void> {
    const deployed = await readDeployedVersions(this.#database.db);
    // What was destroyed meanwhile is not kept any longer.
    this.#sealed.clear();
    for (const found of deployed) this.#keep(found);
    await this.#save();
  }

  /** Forgets versions that were destroyed. */
  forget(key: SecretKey, versions: readonly number[]): void {
    for (const version of versions) this.#sealed.delete(placeOf(key, version));
    void this.#save();
  }

  /**
   * Seals anew what another key has sealed, in the database and in memory; answers with how many those were.
   * @throws HmsError DATA_LOSS if one was changed, FAILED_PRECONDITION if its key is not there; all others are sealed anew by then
   */
  async reseal(): Promise<number> {
    let resealed = 0;
    let failure: HmsError | undefined;
    for await (const found of this.#everything()) {
      const { environment, name, version, sealed } = found;
      let anew: Buffer | undefined;
      try {
        anew = sealed && this.#key.reseal(sealed, contextOf(found, version));
      } catch (error) {
        failure ??= notResealed(found, error);
      }
      if (anew === undefined) continue;
      const { numUpdatedRows } = await this.#database.db
        .updateTable("secret_version")
        .set({ sealed: anew })
        .where("environment", "=", environment)
        .where("name", "=", name)
        .where("version", "=", String(version))
        .where("sealed", "=", sealed ?? null)
        .executeTakeFirstOrThrow();
      resealed += Number(numUpdatedRows);
      const place = placeOf(found, version);
      if (numUpdatedRows > 0n && this.#sealed.has(place)) this.#sealed.set(place, anew);
    }
    await this.#save();
    if (failure !== undefined) throw failure;
    return resealed;
  }

  async *#everything(): AsyncGenerator<StoredVersion> {
    for (let after: StoredVersion | undefined; ; ) {
      const last = after;
      const rows = await this.#database.db
        .selectFrom("secret_version")
        .selectAll()
        .where("sealed", "is not", null)
        .$if(last !== undefined, (query) =>
          query.where(
            sql<boolean>`(environment, name, version) > (${last?.environment}, ${last?.name}, ${last?.version})`,
          ),
        )
        .orderBy("environment")
        .orderBy("name")
        .orderBy("version")
        .limit(AT_ONCE)
        .execute();
      for (const row of rows) {
        after = { ...row, version: Number(row.version), sealed: row.sealed ?? undefined, setBy: "", setAt: row.set_at };
        yield after;
      }
      if (rows.length < AT_ONCE) return;
    }
  }

  get #key(): SealingKey {
    if (this.#sealing === undefined) throw noSealingKey();
    return this.#sealing;
  }

  /** Reads what is not in memory, or may have been sealed anew by another process since. */
  async #load(wanted: readonly (SecretKey & { version: number })[]): Promise<void> {
    const held = (each: SecretKey & { version: number }) => this.#sealed.get(placeOf(each, each.version));
    const isFresh = (sealed: Buffer | undefined) => sealed !== undefined && sealedBy(sealed) === this.#sealing?.id;
    const stale = wanted.filter((each) => !isFresh(held(each)));
    if (stale.length === 0) return;
    try {
      const places = new Set(stale.map((each) => placeOf(each, each.version)));
      for (const found of await readVersions(this.#database.db, stale)) {
        if (places.has(placeOf(found, found.version))) this.#keep(found);
      }
      await this.#save();
    } catch (error) {
      // An old key opens until it is forgotten.
      if (stale.some((each) => held(each) === undefined)) throw error;
    }
  }

  /** What cannot be written is taken away: an older file would hold what was destroyed. */
  #save(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return Promise.resolve();
    this.#saving = this.#saving
      .then(() => keepFile(file, keptText(this.#sealed)))
      .catch(() => rm(file, { force: true }).catch(() => {}));
    return this.#saving;
  }

  #keep(found: StoredVersion): void {
    if (found.sealed) this.#sealed.set(placeOf(found, found.version), found.sealed);
  }
}

function keptText(sealed: ReadonlyMap<string, Buffer>): string {
  return JSON.stringify([...sealed].map(([place, bytes]) => [place, bytes.toString("base64")]));
}

function readKept(file: string): [string, Buffer][] {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as [string, string][];
    return kept.map(([place, text]) => [place, Buffer.from(text, "base64")]);
  } catch {
    return [];
  }
}

const numberOf = ({ version }: StoredVersion) => version;
