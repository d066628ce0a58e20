export type { RequestFacts, RulesVerdict } from './contract.ts';
export { judgeBodyRules } from './body.ts';
export { judgeRequestRules } from './request.ts';
