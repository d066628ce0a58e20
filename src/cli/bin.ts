import { entry } from './entry.ts';

// Not awaited: a bundle that loads a command from its own file would wait for itself.
void entry();
