import { existsSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename } from "node:path";
import { keepFile } from "@hms/kept-files";
import type { Logger } from "@hms/telemetry";
import { revisionVerdicts } from "../revision-verdicts.ts";
import type { RolloutState } from "../rollout-state.ts";
import { keyText } from "../service-book.ts";
import type { RevisionRecord, ServiceKey, ServiceRecord } from "../service-record.ts";
import { type CopyForm, copyForm, copyOf, mergedRevisions, type ServiceCopy } from "./service-copy.ts";

/**
 * What the database says of each service, on disk: a file of the operator's for each, written after each commit and before
 * its effect, so that no replica runs that it does not name.
 */
export class ServiceCopies {
  readonly #folder: string;
  readonly #log: Logger;
  readonly #known = new Map<string, ServiceCopy>();
  readonly #written = new Map<string, string>();
  readonly #turns = new Map<string, Promise<void>>();

  constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  /** What is known of a service, in memory or on disk; undefined: nothing. */
  get(key: ServiceKey): ServiceCopy | undefined {
    const known = this.#known.get(keyText(key));
    if (known) return known;
    try {
      return copyOf(JSON.parse(textOf(this.#fileOf(key)) ?? "") as CopyForm);
    } catch {
      // None, or one that the disk has spoilt.
      return undefined;
    }
  }

  /** Takes everything as the database has it; copies of services that it does not have are taken away. */
  async begin(records: readonly ServiceRecord[], good: readonly (RevisionRecord & ServiceKey)[]): Promise<void> {
    const goodOf = Map.groupBy(good, keyText);
    const names = new Set(records.map(keyText));
    for (const key of this.#onDisk()) if (!names.has(keyText(key))) await this.keep(key, undefined);
    for (const record of records) {
      const own = (goodOf.get(keyText(record)) ?? []).map(({ environment: _, service: __, ...revision }) => revision);
      await this.take({ record, revisions: own });
    }
  }

  /** Takes a service as it is, with all revisions that it could go back to. */
  take(copy: ServiceCopy): Promise<void> {
    this.#known.set(keyText(copy.record), copy);
    return this.keep(copy.record, copy.record);
  }

  #onDisk(): ServiceKey[] {
    const list = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);
    return list(this.#folder).flatMap((environment) =>
      list(`${this.#folder}/${environment}`)
        .filter((file) => file.endsWith(".json"))
        .map((file) => ({ environment, service: basename(file, ".json") })),
    );
  }

  /**
   * Takes a service as it is now, after a transition to `state` if it was one, and resolves when that is on disk; undefined:
   * it is gone. What cannot be written is taken away: an older copy would lie.
   */
  keep(key: ServiceKey, record: ServiceRecord | undefined, state?: RolloutState): Promise<void> {
    const name = keyText(key);
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(() => this.#keep(key, record, state));
    this.#turns.set(name, turn);
    return turn;
  }

  async #keep(key: ServiceKey, record: ServiceRecord | undefined, state: RolloutState | undefined): Promise<void> {
    const name = keyText(key);
    if (record === undefined) {
      this.#known.delete(name);
      return this.#remove(key);
    }
    const verdicts = new Map((state ? revisionVerdicts(state) : []).map((each) => [each.revision, each.outcome]));
    const before = (this.#known.get(name)?.revisions ?? []).map((each) => ({
      ...each,
      outcome: verdicts.get(each.revision) ?? each.outcome,
    }));
    const copy = { record, revisions: mergedRevisions(before, inUse(record)) };
    this.#known.set(name, copy);
    const text = JSON.stringify(copyForm(copy));
    if ((this.#written.get(name) ?? textOf(this.#fileOf(key))) === text) return;
    try {
      await keepFile(this.#fileOf(key), text);
      this.#written.set(name, text);
    } catch (error) {
      this.#log.warn("without the database this service could not be rolled back after a restart", { ...key, error });
      await this.#remove(key);
    }
  }

  async #remove(key: ServiceKey): Promise<void> {
    this.#written.delete(keyText(key));
    await rm(this.#fileOf(key), { force: true }).catch(() => {});
  }

  #fileOf({ environment, service }: ServiceKey): string {
    return `${this.#folder}/${environment}/${service}.json`;
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

const inUse = ({ revisions }: ServiceRecord) => [...revisions.values()];
