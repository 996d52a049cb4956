import type { MessageInitShape } from "@bufbuild/protobuf";
import type { mesh } from "@hms/contracts";
import { type Manifest, parseSticky } from "@hms/manifest";
import type { TrafficShare } from "./rollout-state.ts";

type Split = MessageInitShape<typeof mesh.TrafficSplitSchema>;

/** What asks for one revision by its number: the preview of a version that gets nothing yet. */
export const PREVIEW_HEADER = "x-hms-revision";

/** How requests are divided while a revision is tried, as its own manifest says. */
export function meshSplit({ revision, share }: TrafficShare, { rollout }: Pick<Manifest, "rollout">): Split {
  const { match, sticky } = rollout;
  const own = match.map(({ header, cookie, value = "" }) =>
    header === undefined
      ? { of: { case: "cookie" as const, value: { name: cookie ?? "", value } } }
      : { of: { case: "header" as const, value: { name: header, value } } },
  );
  const preview = { of: { case: "header" as const, value: { name: PREVIEW_HEADER, value: String(revision) } } };
  return { revision: BigInt(revision), share, matches: [preview, ...own], ...stickyKey(sticky) };
}

function stickyKey(sticky: string): Pick<Split, "sticky"> {
  const key = parseSticky(sticky);
  switch (key?.by) {
    case "address":
      return { sticky: { by: { case: "address", value: true } } };
    case "header":
    case "cookie":
      return { sticky: { by: { case: key.by, value: key.name } } };
    default:
      return {};
  }
}
