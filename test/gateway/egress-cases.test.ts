import { defineCases } from './cases/define.ts';
import { loadCases } from './cases/load.ts';

defineCases('egress cases', loadCases());
