import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { packageVersion } from '../../base/version.ts';
import type { CliCommand } from '../contract.ts';

export const versionCommand: CliCommand = {
  name: 'version',
  summary: 'print the version',
  usage: 'Usage: glovebox version [--json]',
  run: async (args, io) => {
    if (args.length > 0) throw new GloveboxError('E_USAGE', { what: `version takes no "${args[0]}"` });
    const version = packageVersion();
    io.stdout.write(
      io.json ? `${JSON.stringify({ version, node: process.versions.node })}\n` : `glovebox ${version}\n`,
    );
    return EXIT.ok;
  },
};
