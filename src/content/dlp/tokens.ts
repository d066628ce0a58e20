import { token } from './pattern.ts';
import type { DlpPattern } from './pattern.ts';

/** Tokens that are known by their own beginning. Forms are those that the issuers document or their clients check. */
export const TOKENS: readonly DlpPattern[] = [
  // Clouds
  token('google-api-key', 'Google API key', {
    starts: ['AIza'],
    parts: [['base64url', 35]],
    notAfter: 'alnum',
  }),
  token('google-oauth-token', 'Google OAuth access token', {
    starts: ['ya29.'],
    parts: [['base64url', 30]],
    notAfter: 'alnum',
  }),
  token('google-oauth-secret', 'Google OAuth client secret', {
    starts: ['GOCSPX-'],
    parts: [['base64url', 28]],
  }),
  token('aws-bedrock-key', 'Amazon Bedrock API key', {
    starts: ['ABSK'],
    parts: [['base64', 100]],
    notAfter: 'base64',
  }),
  token('digitalocean-token', 'DigitalOcean token', {
    starts: ['dop_v1_', 'doo_v1_', 'dor_v1_'],
    parts: [['hex', 64, 64]],
  }),
  token('alibaba-access-key', 'Alibaba Cloud access key id', {
    starts: ['LTAI'],
    parts: [['alnum', 20, 20]],
    notAfter: 'base64',
  }),
  token('tencent-secret-id', 'Tencent Cloud secret id', {
    starts: ['AKID'],
    parts: [['alnum', 32, 32]],
    notAfter: 'base64',
  }),
  token('cloudflare-origin-key', 'Cloudflare origin CA key', {
    starts: ['v1.0-'],
    parts: [['hex', 24, 24], '-', ['hex', 146]],
  }),
  token('heroku-key', 'Heroku API key', { starts: ['HRKU-'], parts: [['base64url', 36]] }),
  token('fly-token', 'Fly.io token', { starts: ['fm1a_', 'fm1r_', 'fm2_'], parts: [['base64', 60]] }),
  token('vault-token', 'HashiCorp Vault token', {
    starts: ['hvs.', 'hvb.', 'hvr.'],
    parts: [['base64url', 24]],
    notAfter: 'alnum',
  }),
  token('pulumi-token', 'Pulumi access token', {
    starts: ['pul-'],
    parts: [['hex', 40, 40]],
    notAfter: 'alnum',
  }),
  token('databricks-token', 'Databricks token', {
    starts: ['dapi'],
    parts: [['hex', 32, 32]],
    notAfter: 'alnum',
  }),
  token('doppler-token', 'Doppler token', {
    starts: ['dp.pt.', 'dp.ct.', 'dp.sa.', 'dp.scim.', 'dp.audit.'],
    parts: [['alnum', 40, 44]],
  }),
  token('planetscale-token', 'PlanetScale token or password', {
    starts: ['pscale_tkn_', 'pscale_pw_', 'pscale_oauth_'],
    parts: [['azure', 32]],
  }),
  token('supabase-key', 'Supabase secret key or token', {
    starts: ['sbp_', 'sb_secret_'],
    parts: [['base64url', 31]],
  }),
  token('netlify-token', 'Netlify token', { starts: ['nfp_'], parts: [['alnum', 36]] }),
  // Forges and package registries
  token('github-token', 'GitHub token', {
    starts: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'],
    parts: [['alnum', 36]],
  }),
  token('github-fine-grained-token', 'GitHub fine-grained token', {
    starts: ['github_pat_'],
    parts: [['alnum', 22, 22], '_', ['alnum', 59]],
  }),
  token('gitlab-token', 'GitLab token', {
    starts: ['glpat-', 'gldt-', 'glrt-', 'glptt-', 'glsoat-', 'glcbt-', 'glimt-', 'glft-', 'glagent-'],
    parts: [['base64url', 20]],
  }),
  token('atlassian-token', 'Atlassian API token', {
    starts: ['ATATT3', 'ATCTT3', 'ATSTT3'],
    parts: [['base64url', 100]],
  }),
  token('bitbucket-password', 'Bitbucket app password', {
    starts: ['ATBB'],
    parts: [['alnum', 32, 32]],
    notAfter: 'base64',
  }),
  token('npm-token', 'npm token', { starts: ['npm_'], parts: [['alnum', 36, 36]], notAfter: 'alnum' }),
  token('pypi-token', 'PyPI token', { starts: ['pypi-AgEI', 'pypi-AgEN'], parts: [['base64url', 50]] }),
  token('rubygems-key', 'RubyGems API key', { starts: ['rubygems_'], parts: [['hex', 48, 48]] }),
  token('crates-token', 'crates.io token', {
    starts: ['cio'],
    parts: [['alnum', 32, 32]],
    notAfter: 'base64url',
  }),
  token('nuget-key', 'NuGet API key', { starts: ['oy2'], parts: [['lower', 43, 43]], notAfter: 'base64url' }),
  token('docker-token', 'Docker Hub token', {
    starts: ['dckr_pat_', 'dckr_oat_'],
    parts: [['base64url', 27]],
  }),
  token('clojars-token', 'Clojars token', { starts: ['CLOJARS_'], parts: [['hex', 60, 60]] }),
  token('jfrog-key', 'JFrog API key', { starts: ['AKCp'], parts: [['alnum', 69]], notAfter: 'base64' }),
  token('sourcegraph-token', 'Sourcegraph token', {
    starts: ['sgp_'],
    parts: [['word', 40]],
  }),
  // Models
  token('openai-key', 'OpenAI API key', {
    starts: ['sk-proj-', 'sk-svcacct-', 'sk-admin-'],
    parts: [['base64url', 40]],
    notAfter: 'alnum',
  }),
  token('openai-legacy-key', 'OpenAI-style API key', {
    starts: ['sk-'],
    parts: [['alnum', 48, 48]],
    notAfter: 'base64url',
  }),
  token('anthropic-key', 'Anthropic API key', {
    starts: ['sk-ant-'],
    parts: [['base64url', 40]],
    notAfter: 'alnum',
  }),
  token('openrouter-key', 'OpenRouter API key', { starts: ['sk-or-v1-'], parts: [['hex', 64, 64]] }),
  token('huggingface-token', 'Hugging Face token', {
    starts: ['hf_', 'api_org_'],
    parts: [['alnum', 34]],
    notAfter: 'word',
  }),
  token('groq-key', 'Groq API key', { starts: ['gsk_'], parts: [['alnum', 52, 52]] }),
  token('xai-key', 'xAI API key', { starts: ['xai-'], parts: [['alnum', 70]], notAfter: 'alnum' }),
  token('replicate-token', 'Replicate token', {
    starts: ['r8_'],
    parts: [['alnum', 37, 37]],
    notAfter: 'word',
  }),
  token('perplexity-key', 'Perplexity API key', { starts: ['pplx-'], parts: [['alnum', 48, 48]] }),
  token('nvidia-key', 'NVIDIA API key', { starts: ['nvapi-'], parts: [['base64url', 60]] }),
  token('langsmith-key', 'LangSmith API key', {
    starts: ['lsv2_pt_', 'lsv2_sk_'],
    parts: [['hex', 32, 32], '_', ['hex', 10, 10]],
  }),
  // Payment
  token('stripe-key', 'Stripe live key', { starts: ['sk_live_', 'rk_live_'], parts: [['alnum', 24]] }),
  token('stripe-webhook-secret', 'Stripe webhook secret', { starts: ['whsec_'], parts: [['base64', 32]] }),
  token('square-token', 'Square token', { starts: ['sq0atp-', 'sq0csp-'], parts: [['base64url', 22]] }),
  token('shopify-token', 'Shopify token', {
    starts: ['shpat_', 'shpca_', 'shppa_', 'shpss_'],
    parts: [['anyhex', 32, 32]],
  }),
  // Messages
  token('slack-token', 'Slack token', {
    starts: ['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xoxo-', 'xoxe-', 'xoxe.xoxp-', 'xapp-'],
    parts: [['base64url', 20]],
    notAfter: 'alnum',
  }),
  token('slack-webhook', 'Slack webhook', {
    starts: ['hooks.slack.com/services/T'],
    parts: [['upper', 8, 14], '/B', ['upper', 8, 14], '/', ['alnum', 20]],
  }),
  token('discord-webhook', 'Discord webhook', {
    starts: ['discord.com/api/webhooks/', 'discordapp.com/api/webhooks/'],
    parts: [['digits', 17, 20], '/', ['base64url', 60]],
  }),
  token('sendgrid-key', 'SendGrid API key', {
    starts: ['SG.'],
    parts: [['base64url', 22, 22], '.', ['base64url', 43, 43]],
    notAfter: 'alnum',
  }),
  token('twilio-key', 'Twilio API key id', { starts: ['SK'], parts: [['hex', 32, 32]], notAfter: 'base64' }),
  token('mailgun-key', 'Mailgun API key', {
    starts: ['key-'],
    parts: [['hex', 32, 32]],
    notAfter: 'base64url',
  }),
  token('brevo-key', 'Brevo API key', { starts: ['xkeysib-'], parts: [['hex', 64, 64], '-', ['alnum', 16]] }),
  token('resend-key', 'Resend API key', {
    starts: ['re_'],
    parts: [['alnum', 8, 8], '_', ['alnum', 24, 24]],
    notAfter: 'word',
  }),
  // Watching
  token('newrelic-key', 'New Relic user key', { starts: ['NRAK-'], parts: [['upper', 27, 27]] }),
  token('sentry-token', 'Sentry token', { starts: ['sntrys_', 'sntryu_'], parts: [['base64', 48]] }),
  token('grafana-token', 'Grafana service account token', {
    starts: ['glsa_'],
    parts: [['alnum', 32, 32], '_', ['anyhex', 8, 8]],
  }),
  token('grafana-cloud-token', 'Grafana Cloud token', { starts: ['glc_eyJ'], parts: [['base64', 40]] }),
  token('dynatrace-token', 'Dynatrace token', {
    starts: ['dt0c01.', 'dt0s01.'],
    parts: [['base32', 24, 24], '.', ['base32', 64, 64]],
  }),
  token('honeycomb-key', 'Honeycomb ingest key', { starts: ['hcaik_'], parts: [['lower', 50]] }),
  // Other services
  token('notion-token', 'Notion token', { starts: ['ntn_'], parts: [['alnum', 43]], notAfter: 'word' }),
  token('linear-key', 'Linear API key', { starts: ['lin_api_', 'lin_oauth_'], parts: [['alnum', 40]] }),
  token('airtable-token', 'Airtable token', {
    starts: ['pat'],
    parts: [['alnum', 14, 14], '.', ['hex', 64, 64]],
    notAfter: 'alnum',
  }),
  token('figma-token', 'Figma token', { starts: ['figd_'], parts: [['base64url', 40]] }),
  token('postman-key', 'Postman API key', {
    starts: ['PMAK-'],
    parts: [['hex', 24, 24], '-', ['hex', 34, 34]],
  }),
  token('onepassword-token', '1Password service account token', {
    starts: ['ops_eyJ'],
    parts: [['base64url', 200]],
  }),
  token('tailscale-key', 'Tailscale key', {
    starts: ['tskey-auth-', 'tskey-api-', 'tskey-client-'],
    parts: [['alnum', 11, 24], '-', ['alnum', 21]],
  }),
  token('age-key', 'age secret key', { starts: ['AGE-SECRET-KEY-1'], parts: [['upper', 58, 58]] }),
];
