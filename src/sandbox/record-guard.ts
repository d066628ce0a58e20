import type { InlineScanner, ScannerOptions } from '../content/dlp/scanner.ts';
import type { RecordGuard } from '../gateway/contract.ts';
import type { DlpPolicy } from '../policy/contract.ts';

/** Words and paths of records are short; what is longer was cut before. */
const TEXT_BYTES = 64 * 1024;

/** Looks for secrets, canaries and token shapes in what is recorded of refusals, whether or not the policy has rules for what leaves. */
export async function makeRecordGuard(
  dlp: Pick<DlpPolicy, 'canaries' | 'custom'> | undefined,
  known: Pick<ScannerOptions, 'secrets' | 'placeholders' | 'secretsVersion'>,
): Promise<RecordGuard> {
  const { createScanner } = await import('../content/dlp/scanner.ts');
  const scanner: InlineScanner = createScanner({
    ...known,
    policy: {
      action: 'deny',
      patterns: true,
      custom: dlp?.custom ?? [],
      canaries: dlp?.canaries ?? [],
      decodeDepth: 2,
      maxInspectBytes: TEXT_BYTES,
      uninspectable: 'deny',
      names: false,
      everywhere: false,
    },
  });
  return { holdsSecret: (text) => scanner.message(Buffer.from(text, 'latin1')) !== undefined };
}
