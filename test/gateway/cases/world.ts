import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { CertificateAuthority, RootStore } from '../../../src/gateway/tls/contract.ts';
import { createRootStore } from '../../../src/gateway/tls/roots.ts';
import { newAuthority, originWorld, selfSigned } from '../tls-kit.ts';
import type { OriginWorld } from '../tls-kit.ts';

/** Who signs for whom in a run of the case file. */
export interface World {
  /** The sandbox's own authority: clients trust it. */
  readonly sandbox: CertificateAuthority;
  /** The gateway's roots: the world's CA, and the sandbox's, which must not count. */
  readonly roots: RootStore;
  /** What a client in the sandbox trusts: the sandbox CA, and the world for tunnels that nobody opens. */
  readonly clientContext: SecureContext;
  /** What an origin shows for a name; `kind` is a row's `upstreamCert`. Undefined: no such kind is known. */
  contextFor(host: string, kind?: string): SecureContext | undefined;
  close(): void;
}

const DAY_MS = 86_400_000;

export function createWorld(): World {
  const sandbox = newAuthority();
  const world = originWorld();
  const dir = mkdtempSync(path.join(tmpdir(), 'egress-cases-'));
  const bundle = path.join(dir, 'roots.pem');
  writeFileSync(bundle, `${world.caPem}\n${sandbox.pem}\n`);
  const contexts = new Map<string, SecureContext | undefined>();
  return {
    sandbox,
    roots: createRootStore({ env: { SSL_CERT_FILE: bundle } }),
    clientContext: createSecureContext({ ca: [sandbox.pem, world.caPem] }),
    contextFor: (host, kind = '') => {
      const key = `${host} ${kind}`;
      if (!contexts.has(key)) contexts.set(key, contextOf(sandbox, world, host, kind));
      return contexts.get(key);
    },
    close: () => rmSync(dir, { recursive: true }),
  };
}

/** Is there a certificate of that kind? */
export function isKnownCertificate(kind: string | undefined): boolean {
  return kind === undefined || KINDS.some(([pattern]) => pattern.test(kind));
}

type Make = (at: {
  sandbox: CertificateAuthority;
  world: OriginWorld;
  host: string;
  kind: string;
}) => SecureContext;

const KINDS: readonly (readonly [RegExp, Make])[] = [
  [/^$/, ({ world, host }) => createSecureContext(world.leaf(host))],
  [/sandbox CA/i, ({ sandbox, host }) => sandbox.contextFor(host)],
  [/self-signed/i, ({ host }) => createSecureContext(selfSigned(host))],
  [/expired/i, ({ world, host }) => createSecureContext(world.leaf(host, past()))],
  [/not yet/i, ({ world, host }) => createSecureContext(world.leaf(host, future()))],
  [
    /unknown|untrusted|another CA|private CA/i,
    ({ host }) => createSecureContext(originWorld('Other').leaf(host)),
  ],
  [/CN=/i, ({ world, kind }) => createSecureContext(world.leaf(/CN=([^, ]+)/i.exec(kind)?.[1] ?? ''))],
  [/wildcard/i, ({ world, host }) => createSecureContext(world.leaf(host.replace(/^[^.]+/, '*')))],
];

function contextOf(
  sandbox: CertificateAuthority,
  world: OriginWorld,
  host: string,
  kind: string,
): SecureContext | undefined {
  const make = KINDS.find(([pattern]) => pattern.test(kind))?.[1];
  return make?.({ sandbox, world, host, kind });
}

function past(): { notBefore: number; notAfter: number } {
  return { notBefore: Date.now() - 2 * DAY_MS, notAfter: Date.now() - DAY_MS };
}

function future(): { notBefore: number; notAfter: number } {
  return { notBefore: Date.now() + DAY_MS, notAfter: Date.now() + 2 * DAY_MS };
}
