import { deployment } from "@hms/contracts";

const { RolloutKind, RolloutState } = deployment;

const wordOf = (words: Readonly<Record<string, number>>, value: number) =>
  (Object.keys(words).find((name) => words[name] === value) ?? "").toLowerCase().replaceAll("_", " ");

/** What happened in a rollout, as lines of its step's log. */
export function rolloutLines({ rolloutId, event }: deployment.RolloutEvent): string[] {
  switch (event.case) {
    case "planned": {
      const { kind, service, environment, warnings } = event.value;
      const what = `${wordOf(RolloutKind, kind)} ${service} (${environment}), rollout ${rolloutId}`;
      return [what, ...warnings.map((warning) => `! ${warning}`)];
    }
    case "waiting":
      return [`… waiting for rollout ${event.value.holderRolloutId}`];
    case "stepProgress":
      return [`  ${event.value.message}`];
    case "stepOutput":
      return [`  | ${event.value.text}`];
    case "stepFinished":
      return [`${event.value.ok ? "✓" : "✗"} ${event.value.title}`];
    case "ended":
      return [endLine(event.value)];
    default:
      return [];
  }
}

function endLine({ state, revision, failure }: deployment.RolloutEnded): string {
  const why = failure ? `: ${failure.reason}` : "";
  return `${wordOf(RolloutState, state)}${why} (revision ${revision})`;
}
