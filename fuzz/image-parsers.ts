import { GloveboxError } from '../src/base/errors.ts';
import { chooseManifest, parseDocument, readConfig, readManifestDocument } from '../src/images/documents.ts';
import { isDigest } from '../src/images/digest.ts';
import { hostPlatform } from '../src/images/platform.ts';
import {
  endpointOf,
  localName,
  nameOfReference,
  parseReference,
  referenceText,
} from '../src/images/names.ts';
import { expand, parseRecipe } from '../src/images/recipe/parse.ts';
import { parseChallenge } from '../src/images/registry/auth.ts';
import { parsePax } from '../src/images/tar/pax.ts';
import { bytes, promise, text } from './net-parsers.ts';
import type { FuzzTarget } from './net-parsers.ts';

/** The value, or undefined where it was refused with one of these codes. */
export function readOrRefused<T>(read: () => T, codes: readonly string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof GloveboxError)) throw error;
    promise(codes.includes(error.code), `one of ${codes.join(', ')}, not ${error.code}`);
    return undefined;
  }
}

const DOCUMENT_CODES = ['E_IMAGE_INVALID', 'E_IMAGE_TOO_LARGE'];
const DIGEST = `sha256:${'a'.repeat(64)}`;
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 1 };
const json = (value: unknown): Uint8Array => bytes(JSON.stringify(value));

export const IMAGE_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'image documents',
    seeds: [
      json({ schemaVersion: 2, config: LAYER, layers: [LAYER] }),
      json({
        schemaVersion: 2,
        manifests: [
          {
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            digest: DIGEST,
            size: 9,
            platform: { os: 'linux', architecture: 'amd64' },
          },
        ],
      }),
      json({
        os: 'linux',
        architecture: 'amd64',
        config: { Env: ['A=b'], Cmd: ['sh'], WorkingDir: '/x', User: 'u' },
        rootfs: { type: 'layers', diff_ids: [DIGEST] },
      }),
    ],
    run: (input) => {
      const document = readOrRefused(() => parseDocument(input, 'it'), DOCUMENT_CODES);
      if (document === undefined) return;
      const config = readOrRefused(() => readConfig(document), DOCUMENT_CODES);
      promise(config?.diffIds.every(isDigest) !== false, 'layers of a configuration are digests');
      const found = readOrRefused(() => readManifestDocument(document), DOCUMENT_CODES);
      if (found === undefined) return;
      const all = 'index' in found ? found.index : [found.manifest.config, ...found.manifest.layers];
      for (const { digest, size } of all)
        promise(isDigest(digest) && Number.isSafeInteger(size) && size >= 0, 'a descriptor is checked');
      if ('index' in found) chooseManifest(found.index, hostPlatform());
    },
  },
  {
    name: 'image names',
    seeds: ['python:3.12-slim', 'localhost:5000/a/b__c:X', `ghcr.io/a/b@${DIGEST}`, '[::1]:5000/a'].map(
      bytes,
    ),
    run: (input) => {
      const name = readOrRefused(() => localName(text(input)), ['E_IMAGE_NAME']);
      if (name !== undefined) {
        promise(localName(name) === name, 'the one form of a name is idempotent');
        promise(/^[\x21-\x7e]{1,200}$/.test(name) && !name.split('/').includes('..'), 'a name never climbs');
        promise(Buffer.byteLength(encodeURIComponent(name)) <= 250, 'a name fits into a file name');
      }
      const reference = readOrRefused(() => parseReference(text(input)), ['E_IMAGE_NAME']);
      if (reference === undefined) return;
      const again = referenceText(reference);
      promise(referenceText(parseReference(again)) === again, 'a reference in full means itself');
      const url = new URL(`https://${endpointOf(reference)}`);
      promise(url.username === '' && url.pathname === '/' && url.search === '', 'a host is a host');
      readOrRefused(() => nameOfReference(text(input)), ['E_IMAGE_NAME']);
    },
  },
  {
    name: 'image recipe',
    seeds: [
      'FROM a\nENV A=1 B="x y" \\\n  # c\n C=\'$x\'\nWORKDIR $A\nCOPY a b/\nRUN ["x", "y"]\nRUN a && \\\n b\n',
      'FROM scratch\nENV A old form\nCOPY ["a b", "c"]\n',
    ].map(bytes),
    run: (input) => {
      const source = Buffer.from(input).toString('utf8');
      const steps = readOrRefused(() => parseRecipe(source, 'R'), ['E_IMAGE_RECIPE']);
      if (steps === undefined) return;
      promise(steps.filter(({ kind }) => kind === 'FROM').length === 1, 'one FROM');
      const lines = source.split('\n').length;
      for (const { at } of steps) promise(at.line >= 1 && at.line <= lines && at.column >= 1, 'a place');
      for (const step of steps)
        if (step.kind === 'ENV')
          for (const [name, value] of step.values) {
            promise(/^[A-Za-z_][A-Za-z0-9_]*$/.test(name), 'a variable has the name of one');
            expand(value, { A: '1' });
          }
    },
  },
  {
    name: 'pax header',
    seeds: ['12 path=a/b\n', '20 size=1234567890\n19 mtime=1.500000\n', '18 linkpath=../xy\n'].map(bytes),
    run: (input) => {
      const fields = readOrRefused(() => parsePax(Buffer.from(input)), DOCUMENT_CODES);
      for (const figure of [fields?.size ?? 0, fields?.mtime ?? 0])
        promise(figure >= 0 && figure <= Number.MAX_SAFE_INTEGER, 'figures are figures');
      promise(fields?.path?.includes('\0') !== true, 'a name holds no zero byte');
    },
  },
  {
    name: 'registry challenge',
    seeds: ['Bearer realm="https://a.test/t",service="s",scope="x"', 'Basic realm="x", Bearer realm="y"'].map(
      bytes,
    ),
    run: (input) => {
      const challenge = parseChallenge(text(input));
      if (challenge?.scheme === 'bearer')
        promise(!challenge.realm.includes('"'), 'a realm ends at its quote');
    },
  },
];
