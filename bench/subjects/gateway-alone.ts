import { benchGateway, type GatewayBenchRow } from '../gateway.ts';
import type { Subject } from '../lib/context.ts';
import type { Comparison, Series } from '../lib/result.ts';

const ROUNDS = 5;

/** Least share of the direct rate. */
const LEAST: Readonly<Record<string, number>> = {
  'bulk, one stream, tunnel': 0.6,
  'bulk, one stream, http': 0.5,
};

/** The gateway in a process of its own, without a sandbox around the client: what its code costs, and nothing else. */
export const gatewayAlone: Subject = {
  name: 'gateway-alone',
  summary: 'the gateway’s own cost, without a sandbox: bulk, 16 parallel clients, new connections',
  run: async ({ rounds }) => {
    const rows = await benchGateway(rounds(ROUNDS));
    return { series: rows.flatMap(seriesOf), comparisons: rows.map(comparisonOf), skips: [] };
  },
};

/** Each row is the median of its interleaved rounds already. */
function seriesOf(row: GatewayBenchRow): readonly Series[] {
  const unit = row.unit === 'MB/s' ? 'MiB/s' : '1/s';
  return [
    { label: `${row.what}: direct`, unit, command: 'benchGateway()', samples: [row.direct] },
    { label: `${row.what}: gateway`, unit, command: 'benchGateway()', samples: [row.gateway] },
  ];
}

function comparisonOf(row: GatewayBenchRow): Comparison {
  const value = LEAST[row.what];
  const target = value === undefined ? {} : { target: { at: 'least', value } as const };
  return { label: `${row.what}: gateway / direct`, unit: 'x', median: row.ratio, best: row.ratio, ...target };
}
