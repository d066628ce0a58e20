import { GloveboxError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { CliCommand, CliIo } from '../contract.ts';

type Verb = (args: readonly string[], io: CliIo) => Promise<number>;

const VERBS: Readonly<Record<string, () => Promise<Verb>>> = {
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
  run: async (args, io) => {
    const [name, ...rest] = args;
    const load = name !== undefined && Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
    if (load === undefined) throw unknownVerb(name);
    return (await load())(rest, io);
  },
};

function unknownVerb(name: string | undefined): GloveboxError {
  const near = name === undefined ? undefined : nearest(name, Object.keys(VERBS));
  return new GloveboxError('E_USAGE', {
    what: name === undefined ? 'say what to do with images' : `there is no command "image ${name}"`,
    next: near === undefined ? 'See `glovebox help image`.' : `Did you mean \`glovebox image ${near}\`?`,
  });
}
