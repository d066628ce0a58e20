import { entry } from './entry.ts';

await entry();
