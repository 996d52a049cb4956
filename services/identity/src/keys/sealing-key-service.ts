import { identityKeys } from "@hms/contracts";
import { HmsError, implement, type ServiceRegistration } from "@hms/kernel";
import type { SealingKey } from "@hms/secrets";
import { sql } from "kysely";
import type { IdentityDatabase } from "../identity-tables.ts";

/** What lies sealed for longer than minutes: the table, its key, and as whose secret it is sealed. */
const PLACES = [
  { table: "signing_key", key: "kid", kind: "signing-key" },
  { table: "totp", key: "account_id", kind: "totp" },
  { table: "identity_provider", key: "name", kind: "provider" },
] as const;

type Place = (typeof PLACES)[number];

const AT_ONCE = 500;

/** What replacing a key needs. */
export interface SealingKeyGround {
  readonly database: IdentityDatabase;
  readonly sealing: SealingKey;
  /** Ids of keys that something outside of this database is sealed by, with what that is; default: nothing. */
  readonly sealedElsewhere?: () => ReadonlyMap<string, string>;
  /** Each seals anew something outside of this database, and answers with how many secrets that were. */
  readonly resealElsewhere?: readonly (() => Promise<number>)[];
}

/** The installation's sealing key, by hms.identity.v1.SealingKeyService. */
export function createSealingKeyService(ground: SealingKeyGround): ServiceRegistration {
  const { database, sealing } = ground;
  return implement(identityKeys.SealingKeyService, {
    async replaceSealingKey() {
      return database.withAdvisoryLock("sealing-key", async () => {
        sealing.replace();
        const resealed = await resealAll(ground);
        return { keyId: sealing.id, oldKeyIds: [...sealing.oldIds], resealed };
      });
    },
    async forgetOldSealingKeys() {
      return database.withAdvisoryLock("sealing-key", async () => {
        const forgottenKeyIds = [...sealing.oldIds];
        await resealAll(ground);
        assertNotNeeded(ground);
        sealing.forgetOld();
        return { keyId: sealing.id, forgottenKeyIds };
      });
    },
  });
}

interface SealedRow {
  readonly name: string;
  readonly sealed: Buffer;
}

/**
 * Seals anew what another key has sealed; what is changed meanwhile is sealed by the present one already.
 * @throws HmsError DATA_LOSS if a secret was changed, when everything else is sealed anew
 */
async function resealAll(ground: SealingKeyGround): Promise<number> {
  let resealed = 0;
  let failure: unknown;
  const attempt = async (work: () => Promise<number>) => {
    try {
      resealed += await work();
    } catch (error) {
      failure ??= error;
    }
  };
  for (const place of PLACES) {
    for await (const row of rowsOf(ground, place)) await attempt(() => resealOne(ground, place, row));
  }
  for (const reseal of ground.resealElsewhere ?? []) await attempt(reseal);
  if (failure !== undefined) throw incomplete(ground, HmsError.from(failure));
  return resealed;
}

async function* rowsOf({ database }: SealingKeyGround, { table, key }: Place): AsyncGenerator<SealedRow> {
  for (let after = ""; ; ) {
    const { rows } = await sql<SealedRow>`select ${sql.ref(key)}::text as name, sealed from ${sql.table(table)}
      where ${sql.ref(key)}::text > ${after} order by ${sql.ref(key)}::text limit ${AT_ONCE}`.execute(database.db);
    yield* rows;
    if (rows.length < AT_ONCE) return;
    after = rows.at(-1)?.name ?? "";
  }
}

async function resealOne({ database, sealing }: SealingKeyGround, place: Place, row: SealedRow): Promise<number> {
  const { table, key, kind } = place;
  const { name, sealed } = row;
  const anew = sealing.reseal(sealed, ["identity", kind, name]);
  if (anew === undefined) return 0;
  const { numAffectedRows } = await sql`update ${sql.table(table)} set sealed = ${anew}
    where ${sql.ref(key)}::text = ${name} and sealed = ${sealed}`.execute(database.db);
  return Number(numAffectedRows ?? 0);
}

/** The key is another one all the same, and both are needed until this is mended. */
function incomplete({ sealing }: SealingKeyGround, { code, message, details }: HmsError): HmsError {
  const said = `Everything is sealed by the key ${sealing.id} but this, which needs the one before: ${message} Keep both keys until it is mended and this command succeeds.`;
  return new HmsError(code, said, { ...details, metadata: { ...details.metadata, keyId: sealing.id } });
}

function assertNotNeeded({ sealedElsewhere, sealing }: SealingKeyGround): void {
  const elsewhere = [...(sealedElsewhere?.() ?? new Map<string, string>())];
  const needed = elsewhere.filter(([id]) => id !== "" && id !== sealing.id).map(([, what]) => what);
  if (needed.length === 0) return;
  const message = `${needed.join(", ")} is still sealed by an old key; it is sealed anew when the process that uses it starts: hms-sys restart-component server (and communication, where that runs apart).`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "OLD_KEY_IN_USE" });
}
