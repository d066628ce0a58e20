import type { Subject } from '../lib/context.ts';
import { audit } from './audit.ts';
import { code } from './code.ts';
import { container } from './container.ts';
import { dlp } from './dlp.ts';
import { files } from './files.ts';
import { footprint } from './footprint.ts';
import { gatewayAlone } from './gateway-alone.ts';
import { gateway } from './gateway.ts';
import { h2 } from './h2.ts';
import { image } from './image.ts';
import { inspected } from './inspected.ts';
import { masks } from './masks.ts';
import { policy } from './policy.ts';
import { sdk } from './sdk.ts';
import { start } from './start.ts';
import { startTree } from './start-tree.ts';
import { vm } from './vm.ts';

/** Every subject, in the order they run. */
export const SUBJECTS: readonly Subject[] = [
  start,
  startTree,
  sdk,
  code,
  container,
  vm,
  files,
  image,
  footprint,
  gateway,
  gatewayAlone,
  inspected,
  h2,
  audit,
  policy,
  masks,
  dlp,
];
