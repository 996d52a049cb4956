import { readWebhook, WEBHOOK_PATTERN } from "./gate-texts.ts";
import type { ListNode, ObjectNode } from "./schema-node.ts";

const MOST = 10;

const what = {
  run: {
    kind: "text",
    description:
      "Run this by /bin/sh -c in the new version's release, with env and HMS_HOOK, HMS_ROLLOUT, HMS_REVISION, HMS_PREVIOUS_REVISION and, after a failure, HMS_FAILURE; 0 is good. It runs again only if the platform dies before its end is on record, so let it bear that.",
    maxLength: 8192,
    example: "node warm-up.js",
  },
  webhook: {
    kind: "text",
    description:
      "Post which rollout is where, as JSON, to this address; 2xx is good. No redirect is followed. It is posted again only if the platform dies before the answer is on record.",
    maxLength: 2048,
    shape: "an address, http:// or https://",
    pattern: WEBHOOK_PATTERN,
    read: readWebhook,
    example: "https://chat.example.org/deploys",
  },
  timeout: {
    kind: "duration",
    min: "1s",
    max: "30m",
    default: "1m",
    description: "How long it may take; then it is ended, and that is a failure.",
  },
} as const;

const elsewhere = { command: "run", cmd: "run", exec: "run", url: "webhook", on_failure: "on_error" } as const;

const onError = (usual: "fail" | "ignore") =>
  ({
    kind: "choice",
    description: "What follows if it fails.",
    default: usual,
    choices: {
      fail: "the rollout undoes itself, and says why",
      ignore: "the journal says so, and the rollout goes on",
    },
  }) as const;

const hooks = <const Usual extends "fail" | "ignore">(description: string, usual: Usual) =>
  ({
    kind: "list",
    max: MOST,
    description,
    item: {
      kind: "object",
      description: "One hook: exactly one of run and webhook.",
      properties: { ...what, on_error: onError(usual) },
      elsewhere,
    },
    defaultNote: "none",
    example: "[{run: node warm-up.js}]",
  }) as const satisfies ListNode;

/** What is done beside a rollout, at which of its moments. */
export const hooksKeys = {
  kind: "object",
  description:
    "What is done beside a deploy, one after the other at each of its moments; restarts, scaling, rollbacks and stops have none. The time that hooks take does not count against rollout.deadline.",
  properties: {
    before_deploy: hooks("Once the release is prepared, before run.release and before any replica starts.", "fail"),
    before_traffic: hooks(
      "Once the first new replicas are healthy and have passed the gates of the start, before the first request of the new version.",
      "fail",
    ),
    after_deploy: hooks(
      "Once the new version serves and nothing of the old one is left. If it fails and on_error is fail, the old version is started again.",
      "ignore",
    ),
    on_failure: {
      kind: "list",
      max: MOST,
      description:
        "Once a deploy has failed and was undone, as far as it could be. Commands are left out if there is no release to run them in. Failures of these change nothing more.",
      item: {
        kind: "object",
        description: "One hook: exactly one of run and webhook.",
        properties: what,
        elsewhere: { command: "run", cmd: "run", exec: "run", url: "webhook" },
      },
      defaultNote: "none",
      example: "[{webhook: 'https://chat.example.org/deploys'}]",
    },
  },
  elsewhere: {
    pre_deploy: "hooks.before_deploy",
    post_deploy: "hooks.after_deploy",
    on_success: "hooks.after_deploy",
    after_failure: "hooks.on_failure",
    rollback: "hooks.on_failure",
    after_rollback: "hooks.on_failure",
    release: "run.release",
  },
} as const satisfies ObjectNode;
