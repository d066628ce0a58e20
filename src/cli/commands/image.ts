import type { CliCommand } from '../contract.ts';
import { runVerb, unknownVerbOf, type Verbs } from '../verbs.ts';

const VERBS: Verbs = {
  import: async () => (await import('../image/verbs.ts')).importVerb,
  pull: async () => (await import('../image/verbs.ts')).pullVerb,
  build: async () => (await import('../image/build.ts')).buildVerb,
  list: async () => (await import('../image/verbs.ts')).listVerb,
  remove: async () => (await import('../image/verbs.ts')).removeVerb,
  prune: async () => (await import('../image/verbs.ts')).pruneVerb,
};

export const imageCommand: CliCommand = {
  name: 'image',
  summary: 'import, pull, build and remove base systems',
  usage: `Usage: glovebox image import PATH|- NAME [--tag TAG] [--platform linux/arm64]
                            a root file system (directory or tar), an OCI image layout or docker save archive; plain, gzip or zstd
       glovebox image pull REFERENCE [--name NAME] [--platform linux/arm64] [--auth] [--insecure]
                            from a registry: python:3.12, host:5000/team/image@sha256:…
       glovebox image build -f RECIPE -t NAME CONTEXT [--allow HOST[:PORT]] [--profile NAME]
                            FROM, RUN, COPY, ENV and WORKDIR; RUN in a sandbox, without network unless allowed
       glovebox image list          name, size, day, layers, source
       glovebox image remove NAME   the name, and what only it used
       glovebox image prune         what no name and no running sandbox uses

      --tag TAG         which image, where an archive holds several
      --platform OS/ARCHITECTURE
                        another than this machine's: chosen where there are several, and kept though it cannot run here
      --auth            use the login that docker or podman keeps in config.json
      --insecure        plain http to any registry; without it only to this machine
      --json            one JSON object on standard output

\`glovebox run --image NAME -- COMMAND\` and \`filesystem: { base: image:NAME }\` stand on it. See docs/guide/images.md.`,
  run: runVerb(VERBS, unknownVerbOf('image', 'images')),
};
