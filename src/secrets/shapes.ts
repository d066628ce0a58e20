/** Letters that a random part is made of. */
export const ALPHABETS = {
  base62: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
  base64: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  base32: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567',
  hex: '0123456789abcdef',
  digits: '0123456789',
} as const;

type Part = string | readonly [alphabet: keyof typeof ALPHABETS, length: number];

/** What tokens of one issuer look like. At least 128 random bits, except an AWS key id, whose secret half has them. */
export interface Shape {
  /** How real ones begin, and the placeholder too. */
  readonly prefix: string;
  /** What follows the prefix. */
  readonly parts: readonly Part[];
  /** Names of variables, fields and credentials that usually hold one, upper case with underscores. */
  readonly names?: RegExp;
}

/** The generic one. 43 letters of base62 are 256 bits. */
export const GENERIC: Shape = { prefix: 'gbx_', parts: [['base62', 43]] };

/**
 * Formats that issuers document or that their clients check; the first that fits wins, so longer prefixes stand before shorter ones.
 * Lengths are those of real tokens, except where these have fewer than 128 random bits.
 */
export const SHAPES: readonly Shape[] = [
  {
    prefix: 'sk-ant-oat01-',
    parts: [['base64url', 93], 'AA'],
    names: /CLAUDE_CODE_OAUTH|ANTHROPIC_AUTH_TOKEN/,
  },
  { prefix: 'sk-ant-admin01-', parts: [['base64url', 93], 'AA'], names: /ANTHROPIC_ADMIN/ },
  { prefix: 'sk-ant-api03-', parts: [['base64url', 93], 'AA'], names: /ANTHROPIC|CLAUDE/ },
  { prefix: 'sk-or-v1-', parts: [['hex', 64]], names: /OPENROUTER/ },
  { prefix: 'sk-proj-', parts: [['base64url', 156]] },
  { prefix: 'sk-svcacct-', parts: [['base64url', 156]] },
  { prefix: 'github_pat_', parts: [['base62', 22], '_', ['base62', 59]] },
  { prefix: 'ghp_', parts: [['base62', 36]], names: /GITHUB|(^|_)GH(_|$)/ },
  { prefix: 'gho_', parts: [['base62', 36]] },
  { prefix: 'ghs_', parts: [['base62', 36]] },
  { prefix: 'ghu_', parts: [['base62', 36]] },
  { prefix: 'glpat-', parts: [['base64url', 26]], names: /GITLAB/ },
  { prefix: 'xoxb-', parts: [['digits', 12], '-', ['digits', 13], '-', ['base62', 24]], names: /SLACK/ },
  { prefix: 'xoxp-', parts: [['digits', 12], '-', ['digits', 13], '-', ['base62', 32]] },
  { prefix: 'xapp-', parts: ['1-', ['base62', 11], '-', ['digits', 13], '-', ['hex', 64]] },
  { prefix: 'npm_', parts: [['base62', 36]], names: /NPM/ },
  { prefix: 'pypi-AgEIcHlwaS5vcmc', parts: [['base64url', 150]], names: /PYPI|TWINE/ },
  { prefix: 'hf_', parts: [['base62', 34]], names: /HUGGING_?FACE|(^|_)HF_/ },
  { prefix: 'AIza', parts: [['base64url', 35]], names: /GOOGLE|GEMINI/ },
  { prefix: 'gsk_', parts: [['base62', 52]], names: /GROQ/ },
  { prefix: 'xai-', parts: [['base62', 80]], names: /(^|_)XAI/ },
  { prefix: 'sk_test_', parts: [['base62', 99]] },
  { prefix: 'sk_live_', parts: [['base62', 99]], names: /STRIPE/ },
  { prefix: 'rk_live_', parts: [['base62', 99]] },
  { prefix: 'SG.', parts: [['base64url', 22], '.', ['base64url', 43]], names: /SENDGRID/ },
  { prefix: 'dckr_pat_', parts: [['base64url', 27]], names: /DOCKER/ },
  { prefix: 'dop_v1_', parts: [['hex', 64]], names: /DIGITALOCEAN/ },
  { prefix: 'nvapi-', parts: [['base64url', 64]], names: /NVIDIA|NGC/ },
  { prefix: 'r8_', parts: [['base62', 37]], names: /REPLICATE/ },
  { prefix: 'pplx-', parts: [['base62', 48]], names: /PERPLEXITY|PPLX/ },
  { prefix: 'lin_api_', parts: [['base62', 40]], names: /LINEAR/ },
  { prefix: 'ntn_', parts: [['base62', 43]], names: /NOTION/ },
  { prefix: 'shpat_', parts: [['hex', 32]], names: /SHOPIFY/ },
  { prefix: 'hvs.', parts: [['base64url', 91]], names: /VAULT/ },
  { prefix: 'sk-', parts: [['base62', 48]], names: /OPENAI|DEEPSEEK/ },
];

/** Fields of AWS credentials have one shape each, whatever the credential is called (IAM user guide, "Unique identifiers"). */
export const AWS_SHAPES: Readonly<Record<string, Shape>> = {
  accessKeyId: { prefix: 'AKIA', parts: [['base32', 16]] },
  secretAccessKey: { prefix: '', parts: [['base64', 40]] },
  sessionToken: { prefix: 'IQoJb3JpZ2luX2Vj', parts: [['base64', 112]] },
};
