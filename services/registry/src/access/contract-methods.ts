import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { readDescriptorSet, serviceNameOf } from "@hms/descriptors";
import type { ServiceKey } from "../service-key.ts";

/** A method of a stored contract, as tickets and policies name it. */
export interface ContractMethod {
  /** "DebateService". */
  service: string;
  /** "CreateDebate". */
  method: string;
  /** What a call leaves in the audit log unless a policy says otherwise. */
  auditLevel: ffiOptions.AuditLevel;
}

function auditLevelOf(method: DescMethod): ffiOptions.AuditLevel {
  const declared = hasOption(method, ffiOptions.rule) ? getOption(method, ffiOptions.rule).auditLevel : 0;
  return declared || ffiOptions.AuditLevel.METADATA;
}

/** The methods of the services that a contract has in the package of a service version. */
export function contractMethods(fileDescriptorSet: Uint8Array, { serviceId, version }: ServiceKey): ContractMethod[] {
  const files = readDescriptorSet(fileDescriptorSet);
  // Packages of stock gRPC servers may name no version.
  const isWanted = (packageName: string) => {
    const name = serviceNameOf(packageName, version);
    return name.serviceId === serviceId && name.version === version;
  };
  return [...files.files]
    .filter(({ proto }) => isWanted(proto.package))
    .flatMap((file) => file.services)
    .flatMap((service) =>
      service.methods.map((method) => ({
        service: service.name,
        method: method.name,
        auditLevel: auditLevelOf(method),
      })),
    );
}
