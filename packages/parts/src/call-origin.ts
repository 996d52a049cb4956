import type { CallOrigin, Metadata } from "@hms/kernel";

/** What a process of the platform tells a part of where a call came from; whatever a caller says by this name is dropped. */
const FIELD = "x-hms-call-origin";

/** The origin of a call as metadata, for the part that serves it: its audit event says from where, not which process. */
export function originMetadata({ way, source }: CallOrigin): Metadata {
  return { [FIELD]: encodeURIComponent(JSON.stringify({ way, source })) };
}

/** Reads it again. Only for calls that came from a process of the platform: nobody else is believed. */
export function originOf(metadata: Metadata | undefined): CallOrigin | undefined {
  const text = metadata?.[FIELD];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(decodeURIComponent(text));
  } catch {
    return undefined;
  }
}
