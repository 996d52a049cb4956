import { deployment } from "@hms/contracts";
import { enumWord } from "./human.ts";
import type { Painter } from "./painter.ts";

/** A service's health as a coloured word. */
export function healthWord(health: deployment.ServiceHealth, paint: Painter): string {
  const word = enumWord(deployment.ServiceHealth, health);
  switch (health) {
    case deployment.ServiceHealth.HEALTHY:
      return paint.good(word);
    case deployment.ServiceHealth.DEGRADED:
      return paint.warn(word);
    case deployment.ServiceHealth.DOWN:
      return paint.bad(word);
    default:
      return paint.dim(word);
  }
}
