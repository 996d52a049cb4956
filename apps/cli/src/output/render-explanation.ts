import type { ManifestExplanation } from "@hms/manifest";
import type { Painter } from "./painter.ts";

/** A manifest key as a person reads it. */
export function renderExplanation(explanation: ManifestExplanation, paint: Painter): string[] {
  return [paint.strong(JSON.stringify(explanation))];
}
