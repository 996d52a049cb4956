import type { CommandSpec } from "./command-spec.ts";

/** The commands about who may do what. */
export const authCommands: CommandSpec[] = [
  {
    name: "auth explain",
    group: "Access",
    summary:
      "say whether somebody may do something, by which policies, or what would have to change (exit code 1: may not)",
    args: [
      { name: "principal", summary: "user:anna, service:default/payment-svc", required: true },
      {
        name: "action",
        summary: "a permission: services:deploy; services:call for methods of services",
        required: true,
      },
      { name: "resource", summary: "payment-svc; hms.emr.patient/GetPatient for services:call" },
    ],
    options: [
      { flags: "--roles <names>", summary: "beside those that it is known to have, comma-separated" },
      { flags: "--mfa", summary: "it has shown a second factor" },
      { flags: "--owner <principal>", summary: "to whom the resource belongs" },
    ],
    examples: [
      "hms-sys auth explain user:anna services:deploy payment-svc",
      "hms-sys auth explain user:anna services:call hms.emr.patient/GetPatient --roles doctor",
    ],
    load: () => import("./commands/auth-explain.ts"),
  },
];
