import { bareBubblewrap, gloveboxRun, type Subject } from '../lib/context.ts';
import { timed, type Invocation } from '../lib/command.ts';
import { peerSettings } from '../lib/peer.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { difference, ratio } from '../lib/stats.ts';

const ROUNDS = 20;

/** From the shell's `exec` to the end of `true`, beside what cannot be avoided and beside the peer. */
export const start: Subject = {
  name: 'start',
  summary: 'start of one command: node, bare bubblewrap, glovebox, srt',
  run: async ({ place, peer, rounds, budgetMs }) => {
    const workspace = place.workspace('start');
    const env = place.env();
    const at = (argv: readonly string[]): Invocation => ({ argv, cwd: workspace, env });
    const warm = gloveboxRun({ workspace, env, command: ['true'] });
    const cold = gloveboxRun({ workspace, env: place.env('newcomer'), command: ['true'] });
    const found = peer();
    const arms: Arm[] = [
      timed('node', 'node -e 0', at([process.execPath, '-e', '0'])),
      timed('bwrap', 'bwrap --unshare-all … true', bareBubblewrap(place, workspace)),
      timed('glovebox', 'glovebox run -- true', warm),
      {
        ...timed('glovebox, first run', 'glovebox run -- true', cold),
        before: () => {
          place.forgetCache('newcomer');
          place.env('newcomer');
        },
      },
    ];
    if (found.peer !== undefined) {
      const settings = peerSettings(place, workspace);
      arms.push(timed("node, the peer's", 'node -e 0', at([found.peer.node, '-e', '0'])));
      arms.push(timed('srt', 'srt true', at(found.peer.argv(settings, ['true']))));
    }
    const series = await interleave({
      arms,
      metrics: { '': 'ms' },
      rounds: rounds(ROUNDS),
      warmups: 2,
      budgetMs,
    });
    const of = (name: string) => find(series, name);
    const own = of('glovebox');
    return {
      series,
      comparisons: [
        ...difference({
          label: 'glovebox − node',
          of: own,
          to: of('node'),
          target: { at: 'most', value: 45 },
        }),
        ...ratio({ label: 'glovebox / srt', of: own, to: of('srt'), target: { at: 'most', value: 0.35 } }),
        ...difference({ label: 'first run − later run', of: of('glovebox, first run'), to: own }),
      ],
      skips: found.why === undefined ? [] : [{ label: 'srt', why: found.why }],
    };
  },
};
