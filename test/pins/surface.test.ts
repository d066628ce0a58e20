import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import * as sdk from '../../src/index.ts';
import { EVENT_SPECS } from '../../src/audit/events/index.ts';
import { ERRORS } from '../../src/base/errors.ts';
import { EXIT } from '../../src/base/exit-codes.ts';
import { RUN_OPTIONS } from '../../src/cli/options.ts';
import { COMMANDS } from '../../src/cli/table.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** What others build on: a change here breaks somebody. */
describe('the public surface', () => {
  it('error codes with exit code and HTTP status', () => {
    const rows = Object.entries(ERRORS).map(([code, row]) => `${code} ${row.exit} ${row.http}`);
    expect(rows).toEqual([
      'E_USAGE 125 400',
      'E_INTERNAL 125 500',
      'E_TIER_UNAVAILABLE 125 503',
      'E_UNSUPPORTED 125 400',
      'E_POLICY_INVALID 125 400',
      'E_POLICY_NOT_FOUND 125 404',
      'E_POLICY_UNTRUSTED 125 403',
      'E_POLICY_CEILING 125 403',
      'E_PROFILE_UNKNOWN 125 400',
      'E_WORKSPACE_INVALID 125 400',
      'E_CWD_INVALID 125 400',
      'E_COMMAND_NOT_FOUND 127 404',
      'E_COMMAND_NOT_EXECUTABLE 126 400',
      'E_COMMAND_FAILED 125 422',
      'E_SANDBOX_START 125 503',
      'E_SANDBOX_LOST 125 500',
      'E_SANDBOX_NOT_FOUND 125 404',
      'E_NAME_TAKEN 125 409',
      'E_SANDBOX_CRASHED 125 500',
      'E_SANDBOX_CLOSED 125 409',
      'E_MASK_LOST 125 503',
      'E_LIMIT_UNAVAILABLE 125 503',
      'E_LIMIT_EXCEEDED 137 429',
      'E_TIMEOUT 124 408',
      'E_ABORTED 125 499',
      'E_PROTOCOL 125 502',
      'E_EGRESS_DENIED 125 403',
      'E_CREDENTIAL_SOURCE 125 502',
      'E_CREDENTIAL_INVALID 125 400',
      'E_AUDIT_BROKEN 125 500',
      'E_AUDIT_UNWRITABLE 125 503',
      'E_CODE_LANGUAGE 125 400',
      'E_CODE_KERNEL 125 502',
      'E_PORT_TAKEN 125 409',
      'E_IMAGE_NAME 125 400',
      'E_IMAGE_NOT_FOUND 125 404',
      'E_IMAGE_INVALID 125 400',
      'E_IMAGE_PLATFORM 125 400',
      'E_IMAGE_TOO_LARGE 125 413',
      'E_IMAGE_DIGEST 125 502',
      'E_IMAGE_REGISTRY 125 502',
      'E_IMAGE_UNAUTHORIZED 125 401',
      'E_IMAGE_RECIPE 125 400',
      'E_IMAGE_BUILD 125 422',
      'E_IMAGE_SPACE 125 507',
      'E_FILE_NOT_FOUND 125 404',
      'E_FILE_EXISTS 125 409',
      'E_FILE_PERMISSION 125 403',
      'E_FILE_NOT_DIRECTORY 125 400',
      'E_FILE_IS_DIRECTORY 125 400',
      'E_FILE_NOT_EMPTY 125 409',
      'E_FILE_TOO_LARGE 125 413',
      'E_FILE_NO_SPACE 125 507',
      'E_FILE_BUSY 125 409',
      'E_FILE_UNSUPPORTED 125 400',
      'E_FILE_NAME 125 400',
      'E_REVIEW_NOT_FOUND 125 404',
      'E_REVIEW_CONFLICT 125 409',
      'E_REVIEW_TOO_LARGE 125 413',
      'E_OUTPUT_GONE 125 410',
      'E_IO 125 500',
    ]);
  });

  it('every error says what to do next', () => {
    for (const [code, row] of Object.entries(ERRORS)) expect(row.next, code).toMatch(/^[A-Z].{10,}\.$/);
  });

  it('exit codes', () => {
    expect(EXIT).toEqual({
      ok: 0,
      timedOut: 124,
      refused: 125,
      notExecutable: 126,
      notFound: 127,
      signalBase: 128,
      limit: 137,
    });
  });

  it('audit event kinds, each under its own name', () => {
    expect(Object.keys(EVENT_SPECS)).toEqual([
      'run.start',
      'run.taken',
      'run.command',
      'run.end',
      'run.refused',
      'network.verdict',
      'network.summary',
      'network.request',
      'network.asked',
      'credential.alarm',
      'credential.source',
      'credential.signed',
      'files.appeared',
      'review.made',
      'review.applied',
      'review.discarded',
      'limit.hit',
      'policy.trust',
      'policy.changed',
      'image.changed',
      'image.refused',
      'audit.repaired',
      'audit.rotated',
      'audit.folded',
    ]);
    for (const [kind, spec] of Object.entries(EVENT_SPECS)) expect(spec.kind).toBe(kind);
  });

  it('verbs', () => {
    expect(COMMANDS.map((row) => row.name)).toEqual([
      'run',
      'shell',
      'code',
      'list',
      'exec',
      'kill',
      'explain',
      'policy',
      'audit',
      'review',
      'secrets',
      'image',
      'doctor',
      'verify',
      'completion',
      'version',
    ]);
  });

  it('options of run, with what they take', () => {
    const rows = RUN_OPTIONS.map((row) =>
      [
        `--${row.name}`,
        row.short === undefined ? '' : `-${row.short}`,
        row.value ?? '',
        row.many === true ? '…' : '',
      ]
        .filter((word) => word !== '')
        .join(' '),
    );
    expect(rows).toEqual([
      '--profile -p NAME …',
      '--policy FILE',
      '--workspace -w DIR',
      '--allow -a HOST[:PORT] …',
      '--read PATH …',
      '--write PATH …',
      '--deny PATH …',
      '--env -e NAME[=VALUE] …',
      '--publish [HOST:]PORT …',
      '--image NAME|DIR',
      '--tier TIER',
      '--driver NAME',
      '--cwd DIR',
      '--cpu N',
      '--memory SIZE',
      '--pids N',
      '--files N',
      '--file-size SIZE',
      '--output SIZE',
      '--timeout TIME',
      '--review',
      '--quiet -q',
      '--verbose -v',
    ]);
  });

  it('names that the package exports', () => {
    expect(Object.keys(sdk).sort()).toEqual([
      'Command',
      'CommandExitError',
      'CommandHandle',
      'ERRORS',
      'EXIT',
      'GloveboxError',
      'Reviews',
      'Sandbox',
      'SandboxPool',
      'isGloveboxError',
      'runCodeOnce',
    ]);
  });

  it('the built package exports the same names', async () => {
    const built = (await import(path.join(ROOT, 'dist/lib/index.js'))) as Record<string, unknown>;
    expect(Object.keys(built).sort()).toEqual(Object.keys(sdk).sort());
    const double = (await import(path.join(ROOT, 'dist/lib/testing.js'))) as Record<string, unknown>;
    expect(Object.keys(double)).toEqual(['MemoryHost']);
  });

  it('paths that the package exports and programs that it installs', () => {
    const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(manifest['exports']).toEqual({
      '.': { types: './dist/types/index.d.ts', default: './dist/lib/index.js' },
      './testing': { types: './dist/types/testing.d.ts', default: './dist/lib/testing.js' },
      './schemas/policy.json': './schemas/policy.schema.json',
      './package.json': './package.json',
    });
    expect(manifest['bin']).toEqual({ glovebox: 'dist/bin/glovebox.js' });
    expect(manifest['engines']).toEqual({ node: '>=20.19' });
  });
});
