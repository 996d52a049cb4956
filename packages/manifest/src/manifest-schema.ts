import { gatesKey } from "./schema-gates.ts";
import { hooksKeys } from "./schema-hooks.ts";
import type { ObjectNode, ValueOf } from "./schema-node.ts";
import { healthKeys, resourceKeys, rolloutKeys, stopGraceKey } from "./schema-operation.ts";
import { envKey, nameKey, needsKey, portKey, runKeys, versionKey } from "./schema-program.ts";
import { scalingKeys } from "./schema-scaling.ts";
import { secretsKey } from "./schema-secrets.ts";
import { meshKeys, routesKey } from "./schema-traffic.ts";

/** The schema of *.hms.yml, in the order people write it: the one definition that everything else follows from. */
export const manifestSchema = {
  kind: "object",
  description:
    "One service: what to run, where it answers, how it is kept healthy and how a new version replaces the old one.",
  properties: {
    name: nameKey,
    version: versionKey,
    needs: needsKey,
    run: runKeys,
    port: portKey,
    routes: routesKey,
    scaling: scalingKeys,
    health: healthKeys,
    rollout: rolloutKeys,
    gates: gatesKey,
    hooks: hooksKeys,
    stop_grace: stopGraceKey,
    resources: resourceKeys,
    env: envKey,
    secrets: secretsKey,
    mesh: meshKeys,
  },
  later: {
    image: "It starts plain programs, not images. Write run: {command: …} with the program's own start command",
    build: "It does not build images. Write the build command under run.build",
    volumes: "There are no volumes yet. Keep data in a database, or in a directory outside the release that env names",
    slo: "There are no service level objectives yet. Leave the key out, and read /metrics of the data plane",
    targets: "There is one target yet, programs on this machine. Leave the key out",
    alerts: "There are no alerts yet. Leave the key out",
    schedule: "There are no schedules yet. Call the service from cron",
    policy:
      "Who may call a service is not said in its manifest: write a policy with hms-sys ffi policy, or auth at a route. Leave the key out",
  },
  elsewhere: {
    service: "name",
    release: "run.release",
    before_deploy: "hooks.before_deploy",
    after_deploy: "hooks.after_deploy",
    command: "run.command",
    cmd: "run.command",
    start: "run.command",
    directory: "run.directory",
    dir: "run.directory",
    workdir: "run.directory",
    working_dir: "run.directory",
    ports: "port",
    replicas: "scaling.min",
    instances: "scaling.min",
    environment: "env",
    variables: "env",
    secret: "secrets",
    healthcheck: "health",
    health_check: "health",
    strategy: "rollout.strategy",
    stop_grace_period: "stop_grace",
    kill_timeout: "stop_grace",
    memory: "resources.memory",
    cpu: "resources.cpu",
    limits: "resources",
    retry: "mesh.retry",
    timeout: "mesh.request_timeout",
    depends_on: "needs",
  },
} as const satisfies ObjectNode;

/** A manifest, read: every default filled in, durations in ms, memory in bytes, processor time in millicores, variables that hold secrets under `secrets` as texts for `secretPieces`; frozen, and plain enough for JSON. */
export type Manifest = ValueOf<typeof manifestSchema>;
