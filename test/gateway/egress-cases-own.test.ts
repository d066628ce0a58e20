import { defineCases } from './cases/define.ts';
import { loadOwnCases } from './cases/load.ts';

defineCases('own egress cases', loadOwnCases());
