import { randomUUID } from "node:crypto";
import { type DescMessage, type MessageShape, toJsonString } from "@bufbuild/protobuf";
import { type Timestamp, timestampNow } from "@bufbuild/protobuf/wkt";
import { type integrationEvents, mesh } from "@hms/contracts";
import type { Client } from "@hms/kernel";
import { TrafficWindow } from "./traffic-window.ts";

/** Where sensor events are published: the platform's own bus. */
export type EventBus = Pick<Client<typeof integrationEvents.EventService>, "publish">;

/** What sensor news are made of. */
export interface SensorNewsOptions {
  bus: EventBus;
  /** Hears that events cannot be published, or can again (undefined); once for each change. */
  onChange: (error: unknown) => void;
  /** How long the measures of data planes are waited for, once one has come; default 2000. */
  gatherMs?: number;
}

type Sensed = Pick<mesh.ReportNodeRequest, "samples" | "samplesLeftOut" | "denials" | "denialsLeftOut" | "measures">;

type Place = { readonly environment: string; readonly service: string };

const PUBLISH_MS = 2000;

/**
 * Publishes what data planes have sampled and measured, live: to who listens now, at most once. Nobody waits for it, and
 * what cannot be published is let go.
 */
export class SensorNews {
  readonly #options: SensorNewsOptions;
  readonly #window: TrafficWindow;
  #isFailing = false;

  constructor(options: SensorNewsOptions) {
    this.#options = options;
    const publish = (all: mesh.TrafficMeasured[]) => {
      this.#publish("traffic.measured", all, (each) => eventOf(mesh.TrafficMeasuredSchema, each));
    };
    this.#window = new TrafficWindow(publish, options.gatherMs ?? 2000);
  }

  /** Takes what a data plane says. */
  report({ samples, samplesLeftOut, denials, denialsLeftOut, measures }: Sensed): void {
    if (samples[0]) samples[0].leftOut = samplesLeftOut;
    if (denials[0]) denials[0].leftOut = denialsLeftOut;
    const { RequestSampleSchema, RequestDenialSchema } = mesh;
    this.#publish("request.sampled", samples, (each) => eventOf(RequestSampleSchema, each, each.endedAt));
    this.#publish("request.denied", denials, (each) => eventOf(RequestDenialSchema, each, each.deniedAt));
    this.#window.take(measures);
  }

  #publish<T extends Place>(what: string, all: readonly T[], made: (one: T) => SensorEvent): void {
    for (const environment of new Set(all.map((one) => one.environment))) {
      const events = all.filter((one) => one.environment === environment).map(made);
      // As many as one call takes.
      for (let n = 0; n < events.length; n += 1000) {
        void this.#send({ topic: `hms.sys.mesh.${what}`, environment, events: events.slice(n, n + 1000) });
      }
    }
  }

  async #send(request: { topic: string; environment: string; events: SensorEvent[] }): Promise<void> {
    try {
      await this.#options.bus.publish(request, { timeoutMs: PUBLISH_MS });
      this.#note(false, undefined);
    } catch (error) {
      this.#note(true, error);
    }
  }

  #note(isFailing: boolean, error: unknown): void {
    if (this.#isFailing === isFailing) return;
    this.#isFailing = isFailing;
    this.#options.onChange(error);
  }

  /** Publishes nothing more. */
  [Symbol.dispose](): void {
    this.#window[Symbol.dispose]();
  }
}

type SensorEvent = ReturnType<typeof eventOf>;

/** An event about a service; its data is JSON, for people and programs without this contract. */
function eventOf<Schema extends DescMessage>(
  schema: Schema,
  message: MessageShape<Schema> & Place,
  time: Timestamp = timestampNow(),
) {
  return {
    id: randomUUID(),
    subject: `${message.environment}/${message.service}`,
    time,
    dataSchema: `hms-contract:${schema.typeName}`,
    dataContentType: "application/json",
    data: new TextEncoder().encode(toJsonString(schema, message, { alwaysEmitImplicit: true })),
  };
}
