export type { RequestFacts, RulesVerdict } from './contract.ts';
export { judgeBodyRules, judgeMessageRules } from './body.ts';
export { judgeRequestRules } from './request.ts';
