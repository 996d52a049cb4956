import { createFileRegistry, type DescMethod, fromBinary, getOption, hasOption } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ffiOptions } from "@hms/contracts";
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
  const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
  const wanted = `${serviceId}.${version}`;
  return [...files.files]
    .filter(({ proto }) => proto.package === wanted)
    .flatMap((file) => file.services)
    .flatMap((service) =>
      service.methods.map((method) => ({
        service: service.name,
        method: method.name,
        auditLevel: auditLevelOf(method),
      })),
    );
}
