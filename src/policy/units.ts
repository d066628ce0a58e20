/** Bytes in each unit; binary units only, because `MB` means two things. */
const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** The longest delay a timer takes (setTimeout keeps 31 bits of milliseconds). */
export const MAX_DURATION_MS = 2 ** 31 - 1;

export const SIZE_PATTERN = /^(?:unlimited|[0-9]{1,15}(?:\.[0-9]{1,3})?(?:B|KiB|MiB|GiB|TiB))$/;
export const DURATION_PATTERN = /^(?:unlimited|[0-9]{1,12}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d))$/;

/** Bytes of a size as policies write it: `256MiB`, a count of bytes, or `unlimited` (infinity). Undefined when it is none. */
export function parseSize(value: string | number): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  const bytes = SIZE_PATTERN.test(value) ? scaled(value, SIZE_UNITS) : undefined;
  return bytes === undefined || bytes === Infinity || Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Milliseconds of a duration: `90s`, `10m`, or `unlimited` (infinity). A bare number has no unit and is none. */
export function parseDuration(value: string): number | undefined {
  const ms = DURATION_PATTERN.test(value) ? scaled(value, DURATION_UNITS) : undefined;
  return ms === undefined || ms === Infinity || (ms > 0 && ms <= MAX_DURATION_MS) ? ms : undefined;
}

/** What was probably meant by a size that is none: `512M` → `512MiB`. */
export function sizeHint(value: unknown): string | undefined {
  const match = typeof value === 'string' ? /^([0-9.]+)\s*([kmgt]?)i?b?$/i.exec(value.trim()) : null;
  if (match === null) return undefined;
  const prefix = (match[2] ?? '').toUpperCase();
  return `${match[1] ?? ''}${prefix === '' ? 'B' : `${prefix}iB`}`;
}

/** What was probably meant by a duration that is none: `600` → `600s`, `10 min` → `10m`. */
export function durationHint(value: unknown): string | undefined {
  if (typeof value === 'number') return `${value}s`;
  const match = typeof value === 'string' ? /^([0-9.]+)\s*([a-z]*)$/i.exec(value.trim()) : null;
  if (match === null) return undefined;
  const unit = (match[2] ?? '').toLowerCase();
  if (unit === '') return `${match[1] ?? ''}s`;
  return `${match[1] ?? ''}${unit.startsWith('ms') || unit.startsWith('mil') ? 'ms' : unit.charAt(0)}`;
}

/** A count of bytes as people write it, exact: `1536` → `1536B`, `1073741824` → `1GiB`. */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB']) {
    const size = SIZE_UNITS[unit] ?? 1;
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}B`;
}

/** Milliseconds as people write them, exact: `600000` → `10m`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = DURATION_UNITS[unit] ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function scaled(value: string, units: Readonly<Record<string, number>>): number | undefined {
  if (value === 'unlimited') return Infinity;
  const match = /^([0-9.]+)([A-Za-z]+)$/.exec(value);
  const unit = units[match?.[2] ?? ''];
  return unit === undefined ? undefined : Math.round(Number(match?.[1]) * unit);
}
