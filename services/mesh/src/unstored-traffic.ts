import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { keepFile } from "@hms/kept-files";
import { HmsError } from "@hms/kernel";
import { withRequirements } from "./route-requirements.ts";
import { contentOf } from "./snapshot-content.ts";
import type { SnapshotFeed } from "./snapshot-feed.ts";
import { checkConflicts, isFor } from "./traffic-conflicts.ts";

/**
 * How far the number of a snapshot that is not stored is beyond the newest one known. The database may have given numbers
 * that nobody has heard of, in commits whose answers were lost; it gives none of these.
 */
const GAP = 1000n;

/** Pictures that data planes have and the database lacks. */
export interface Waiting {
  readonly snapshot: mesh.Snapshot;
  /** By environment and name, in their normal form. */
  readonly pictures: ReadonlyMap<string, mesh.MeshServiceEntry>;
}

/** What lies in the file: bytes in base64. */
interface KeptForm {
  snapshot: string;
  pictures?: string[];
}

const keyOf = ({ environment, name }: { environment: string; name: string }) => `${environment}/${name}`;

/**
 * Lets traffic change while the database is away: from the newest snapshot, which is kept on disk for that, to snapshots
 * whose changed pictures are on disk before a data plane gets them, until the database has taken them in.
 */
export class UnstoredTraffic {
  readonly #feed: SnapshotFeed;
  readonly #newest: string;
  readonly #unstored: string;
  #waiting: Waiting | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** Begins with what an earlier process left in the folder, and publishes it. */
  constructor(folder: string, feed: SnapshotFeed) {
    this.#feed = feed;
    this.#newest = `${folder}/newest.json`;
    this.#unstored = `${folder}/unstored.json`;
    const left = read(this.#unstored);
    this.#waiting = left?.waiting;
    const snapshot = left?.snapshot ?? read(this.#newest)?.snapshot;
    if (snapshot) feed.publish(snapshot);
  }

  /** What the database lacks; undefined: nothing. */
  get waiting(): Waiting | undefined {
    return this.#waiting;
  }

  /** Keeps the newest snapshot that the database has. An older one would be worse than none. */
  keep(snapshot: mesh.Snapshot): Promise<void> {
    return this.#inTurn(async () => {
      if ((this.#feed.newest?.version ?? 0n) >= snapshot.version) return;
      await keepFile(this.#newest, textOf({ snapshot })).catch(() => rm(this.#newest, { force: true }));
    });
  }

  /**
   * Publishes a picture that the database cannot be given now.
   * @throws HmsError ALREADY_EXISTS as when it is stored, UNAVAILABLE if the service has no address yet, RESOURCE_EXHAUSTED
   * if it cannot be kept on disk
   */
  set(picture: mesh.MeshServiceEntry): Promise<{ snapshot: mesh.Snapshot; vip: string }> {
    return this.#inTurn(async () => {
      const newest = this.#feed.newest;
      const all = newest ? contentOf(newest) : undefined;
      const standing = all?.services.find(isFor(picture));
      if (newest === undefined || all === undefined || standing === undefined) throw noAddress(picture);
      const others = all.services.filter((service) => service !== standing);
      checkConflicts(picture, others);
      const { vip } = standing;
      const entry = { ...withRequirements(picture), vip };
      if (equals(mesh.MeshServiceEntrySchema, standing, entry)) return { snapshot: newest, vip };
      const services = all.services.map((service) => (service === standing ? entry : service));
      const content = toBinary(mesh.SnapshotContentSchema, create(mesh.SnapshotContentSchema, { ...all, services }));
      const snapshot = create(mesh.SnapshotSchema, {
        version: newest.version + GAP,
        content,
        sha256: createHash("sha256").update(content).digest(),
        createdAt: timestampNow(),
      });
      const pictures = new Map(this.#waiting?.pictures).set(keyOf(picture), picture);
      const waiting = { snapshot, pictures };
      await keepFile(this.#unstored, textOf(waiting)).catch((cause: unknown) => {
        throw notKept(this.#unstored, cause);
      });
      this.#waiting = waiting;
      this.#feed.publish(snapshot);
      return { snapshot, vip };
    });
  }

  /** Says that the database has all of this; what has come since then waits on. */
  async stored(waiting: Waiting): Promise<void> {
    if (this.#waiting !== waiting) return;
    this.#waiting = undefined;
    // One that stays although it was stored is known by its number.
    await rm(this.#unstored, { force: true }).catch(() => {});
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

/** The pictures that a database whose newest snapshot has this number lacks. */
export function lackedBy(version: bigint, waiting: Waiting | undefined): mesh.MeshServiceEntry[] {
  return waiting && waiting.snapshot.version > version ? [...waiting.pictures.values()] : [];
}

function textOf({ snapshot, pictures }: { snapshot: mesh.Snapshot; pictures?: Waiting["pictures"] }): string {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const entries = [...(pictures?.values() ?? [])];
  const form: KeptForm = {
    snapshot: base64(toBinary(mesh.SnapshotSchema, snapshot)),
    ...(pictures ? { pictures: entries.map((one) => base64(toBinary(mesh.MeshServiceEntrySchema, one))) } : {}),
  };
  return JSON.stringify(form);
}

/** What a file holds; undefined if there is none, or it is damaged. */
function read(file: string): { snapshot: mesh.Snapshot; waiting: Waiting } | undefined {
  try {
    const form = JSON.parse(readFileSync(file, "utf8")) as KeptForm;
    const snapshot = fromBinary(mesh.SnapshotSchema, Buffer.from(form.snapshot, "base64"));
    const sum = createHash("sha256").update(snapshot.content).digest();
    if (Buffer.compare(sum, snapshot.sha256) !== 0) return undefined;
    const all = (form.pictures ?? []).map((one) => fromBinary(mesh.MeshServiceEntrySchema, Buffer.from(one, "base64")));
    return { snapshot, waiting: { snapshot, pictures: new Map(all.map((one) => [keyOf(one), one])) } };
  } catch {
    return undefined;
  }
}

function noAddress({ name }: { name: string }): HmsError {
  const message = `The database is away, and "${name}" has no address in the mesh yet. Try again when it is back.`;
  return new HmsError("UNAVAILABLE", message, { reason: "DATABASE_DOWN" });
}

function notKept(file: string, cause: unknown): HmsError {
  const message = `The database is away, and ${file} cannot be written: traffic stays as it is. Make room on the disk.`;
  return new HmsError("RESOURCE_EXHAUSTED", message, { reason: "NOT_KEPT", cause });
}
