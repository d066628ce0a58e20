import { verifyAudit, type AuditReport } from '../../audit/verify.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { visibleLine } from '../../audit/redact.ts';
import type { CliIo } from '../contract.ts';
import type { AuditArgs } from './options.ts';

/** `audit verify`: exit code 0 when the chain is whole, else 125. */
export async function verifyCommand(stateDir: string, args: AuditArgs, io: CliIo): Promise<number> {
  const { expectHead } = args;
  const report = await verifyAudit({ stateDir, ...(expectHead === undefined ? {} : { expectHead }) });
  io.stdout.write(io.json ? `${JSON.stringify(report)}\n` : reportText(report));
  return report.ok ? EXIT.ok : EXIT.refused;
}

function reportText(report: AuditReport): string {
  const head = report.records === 0 ? 'the log is empty' : `head ${report.head.hash}:${report.head.seq}`;
  const count = `${report.records} records in ${report.files} ${report.files === 1 ? 'file' : 'files'}, ${head}`;
  if (report.ok) return `whole: ${count}\n`;
  const problems = report.problems.map(({ file, line, what }) => {
    return `  ${visibleLine(file)}${line === 0 ? '' : `:${line}`} ${what}\n`;
  });
  return `BROKEN: ${count}\n${problems.join('')}Keep the files as evidence; the records before the first line named are still proven.\n`;
}
