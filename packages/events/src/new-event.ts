import type { CloudEvent } from "./cloud-event.ts";
import { uuidV7 } from "./uuid.ts";

/** The attributes of an event that is about to happen. */
export type NewEvent = Omit<CloudEvent, "specversion" | "id"> & {
  readonly source: string;
  readonly type: string;
  readonly id?: string;
};

/** Completes an event: specversion, and unless given an id (UUID 7) and the time. */
export function createEvent(attributes: NewEvent): CloudEvent {
  return { specversion: "1.0", id: uuidV7(), time: new Date().toISOString(), ...attributes } as CloudEvent;
}
