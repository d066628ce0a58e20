import { openAudit } from '../writer.ts';

/** A program of its own: `writer.fixture.ts STATE_DIR COUNT [MAX_FILE_BYTES]` appends records one after another; COUNT 0 means until it is killed. */
const [stateDir = '', count = '0', maxFileBytes] = process.argv.slice(2);
const audit = openAudit({
  stateDir,
  ...(maxFileBytes === undefined ? {} : { maxFileBytes: Number(maxFileBytes) }),
});
const last = count === '0' ? Infinity : Number(count);
for (let i = 0; i < last; i++) {
  await audit.write({
    kind: 'limit.hit',
    sandbox: `sbx_${process.pid}`,
    data: { limit: 'pids', value: i, pad: 'x'.repeat(i % 700) },
  });
  process.stdout.write('.');
}
await audit.close();
