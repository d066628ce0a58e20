import { openAudit, type AuditWriter } from '../../audit/writer.ts';
import { CAPS } from '../../base/caps.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { gloveboxDirs } from '../../base/paths.ts';
import type { ImageRecord } from '../../images/contract.ts';
import { recorded, type ImageAction } from '../../images/recorded.ts';
import { imageStoreDir } from '../../images/store/layout.ts';
import { ImageStore } from '../../images/store/store.ts';
import type { CliIo } from '../contract.ts';

/** What every verb of `image` works with. */
export interface ImageContext {
  readonly store: ImageStore;
  readonly io: CliIo;
  readonly audit: AuditWriter;
  /** A line for people about what goes on. */
  readonly progress: (line: string) => void;
}

/** Opens the store and the log for one verb. */
export async function withImages(
  io: CliIo,
  work: (context: ImageContext) => Promise<number>,
): Promise<number> {
  const dirs = gloveboxDirs(io.env);
  const audit = openAudit({ stateDir: dirs.state });
  const progress = (line: string): void => void (io.json || io.stderr.write(`glovebox: ${line}\n`));
  try {
    return await work({ store: new ImageStore(imageStoreDir(dirs)), io, audit, progress });
  } finally {
    await audit.close();
  }
}

/** Makes an image, leaves the record, and tells what came of it. */
export async function makeImage(
  context: ImageContext,
  facts: { readonly action: ImageAction; readonly name: string },
  work: () => Promise<ImageRecord>,
): Promise<number> {
  const record = await recorded(context.audit, facts, work);
  const { io, progress } = context;
  if (io.json) io.stdout.write(`${JSON.stringify({ image: record })}\n`);
  for (const line of reportLines(record)) progress(line);
  return EXIT.ok;
}

function reportLines({ name, chain, report }: ImageRecord): readonly string[] {
  const more = report.skippedCount - Math.min(report.skippedCount, CAPS.imageSkippedShown);
  return [
    ...report.skipped.map(({ name: file, why }) => `left out ${file}: ${why}`),
    ...(more > 0 ? [`left out ${more} more`] : []),
    ...(report.setidDropped > 0 ? [`setuid and setgid bits dropped from ${report.setidDropped} files`] : []),
    `${name} is ready: ${report.entries} entries, ${megabytes(report.bytes)} (${chain.slice(0, 19)})`,
  ];
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
