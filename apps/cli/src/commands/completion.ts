import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../command-spec.ts";
import { ExitCode } from "../exit-code.ts";

// Each asks the program that was typed, so that ./hms-sys is completed by itself and not by another one in PATH.
const scripts: Record<string, string> = {
  bash: `_hms_sys() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]/#\\~/$HOME}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
  [ \${#COMPREPLY[@]} -gt 0 ] || compopt -o default
}
complete -F _hms_sys hms-sys`,
  zsh: `#compdef hms-sys
_hms_sys() {
  local -a found
  found=("\${(@f)$(\${~words[1]} __complete "\${(@)words[2,CURRENT]}" 2>/dev/null | sed $'s/:/\\\\\\\\:/g; s/\\t/:/')}")
  if [[ -n "$found" ]]; then _describe 'hms-sys' found; else _files; fi
}
compdef _hms_sys hms-sys`,
  fish: `complete -c hms-sys -f -a '(set -l words (commandline -opc) (commandline -ct); eval $words[1] __complete (string escape -- $words[2..-1]) 2>/dev/null)'
complete -c hms-sys -n '__fish_seen_subcommand_from deploy plan' -F`,
};

/** Prints the completion script of a shell. */
export async function run({ args, output }: Invocation): Promise<number> {
  const shell = args[0] ?? "";
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script === undefined)
    throw new HmsError("INVALID_ARGUMENT", `No completion for "${shell}": choose bash, zsh or fish.`);
  if (output.json) output.document({ shell, script });
  else output.result(script);
  return ExitCode.OK;
}
