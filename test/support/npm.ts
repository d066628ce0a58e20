import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { findProgram } from './users.ts';

/** One setting of the npm that is configured here. */
export function npmConfig(name: string): string {
  const value = spawnSync('npm', ['config', 'get', name], { encoding: 'utf8' }).stdout.trim();
  return value === 'undefined' || value === 'null' ? '' : value;
}

export const REGISTRY = findProgram('npm') === undefined ? '' : npmConfig('registry');

/** Undefined when the configured registry answers; else what is missing. */
export function registryMissing(): string | undefined {
  if (REGISTRY === '') return 'npm is not installed';
  const done = spawnSync('npm', ['view', 'is-number', 'version'], { encoding: 'utf8', timeout: 30_000 });
  return done.status === 0 ? undefined : 'the package registry does not answer';
}

/** Where the configured registry stands. */
export function registryPlace(): {
  readonly host: string;
  readonly ports: readonly number[];
  readonly protocol: string;
} {
  const url = new URL(REGISTRY);
  const plain = url.protocol === 'http:';
  const port = url.port === '' ? (plain ? 80 : 443) : Number(url.port);
  return { host: url.hostname, ports: [port], protocol: plain ? 'http' : 'https' };
}

/** Node may stand outside the base system. */
export function nodeTree(): readonly string[] {
  return process.execPath.startsWith('/usr/') ? [] : ['--read', path.dirname(path.dirname(process.execPath))];
}
