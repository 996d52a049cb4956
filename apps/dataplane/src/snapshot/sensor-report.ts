import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import type { ProxyEngine, RequestDenial, RequestSample } from "@hms/proxy";
import { RevisionMeasures } from "./revision-measures.ts";
import { TRAFFIC_MS } from "./traffic-report.ts";

type Sensed = Pick<
  MessageInitShape<typeof mesh.ReportNodeRequestSchema>,
  "samples" | "samplesLeftOut" | "denials" | "denialsLeftOut" | "measures"
>;

/** What is reported of samples at a time, and what to do once it is known whether the server has it. */
export interface SensorNews {
  readonly sensed: Sensed;
  readonly isEmpty: boolean;
  settle(reached: boolean): void;
}

const NOTHING: SensorNews = { sensed: {}, isEmpty: true, settle: () => {} };

/**
 * Says what an engine has sampled, at most once a second, and every ten seconds what its revisions have answered. What does
 * not arrive is not said again: only how much it was.
 */
export class SensorReport {
  readonly #engine: Pick<ProxyEngine, "takeSensors" | "traffic">;
  readonly #measures = new RevisionMeasures();
  #takenAt = Number.NEGATIVE_INFINITY;
  /** Not told, because reports did not arrive. */
  #lost = { samples: 0, denials: 0 };

  constructor(engine: Pick<ProxyEngine, "takeSensors" | "traffic">) {
    this.#engine = engine;
  }

  /** What the server does not know yet; `now` in milliseconds since 1970. */
  news(now = Date.now()): SensorNews {
    // A clock that was set back must not end it.
    if (Math.abs(now - this.#takenAt) < TRAFFIC_MS - 50) return NOTHING;
    this.#takenAt = now;
    const { requests, denials } = this.#engine.takeSensors();
    const measured = this.#measures.news(() => this.#engine.traffic({ everyRevision: true }), now);
    // Said with the next ones that are told.
    const lost = {
      samples: requests.total > 0 ? this.#lost.samples : 0,
      denials: denials.total > 0 ? this.#lost.denials : 0,
    };
    const sensed = {
      samples: requests.values.map((sample) => sampleMessage(sample, requests.total / requests.values.length)),
      samplesLeftOut: BigInt(lost.samples),
      denials: denials.values.map((denial) => denialMessage(denial, denials.total / denials.values.length)),
      denialsLeftOut: BigInt(lost.denials),
      measures: measured.messages,
    };
    const isEmpty = requests.total === 0 && denials.total === 0 && measured.messages.length === 0;
    return {
      sensed,
      isEmpty,
      settle: (reached) => {
        if (reached) measured.confirm();
        this.#lost = reached
          ? { samples: this.#lost.samples - lost.samples, denials: this.#lost.denials - lost.denials }
          : { samples: this.#lost.samples + requests.total, denials: this.#lost.denials + denials.total };
      },
    };
  }
}

function sampleMessage({ revision, route, endedAt, ...same }: RequestSample, weight: number): mesh.RequestSample {
  return create(mesh.RequestSampleSchema, {
    ...same,
    route,
    entrance: route === "" ? mesh.Entrance.MESH : mesh.Entrance.GATEWAY,
    revision: BigInt(revision),
    weight,
    endedAt: timestampFromMs(endedAt),
  });
}

function denialMessage({ endedAt, ...same }: RequestDenial, weight: number): mesh.RequestDenial {
  return create(mesh.RequestDenialSchema, { ...same, weight, deniedAt: timestampFromMs(endedAt) });
}
