// A plot that code in a sandbox draws, as a picture and as data. Needs python3-matplotlib. Run it after `npm run build`:
// node examples/plot.mjs [TIER] [FILE.png]
import { writeFileSync } from 'node:fs';
import { Sandbox } from 'glovebox';

const [, , tier = 'process', file] = process.argv;
const box = await Sandbox.create({ temporary: true, profile: 'code', tier });
try {
  const { results, error } = await box.runCode(`
import matplotlib.pyplot as plt
plt.plot([1, 2, 3, 4], [1, 4, 9, 16], label='squares')
plt.title('Squares'); plt.xlabel('n'); plt.ylabel('n²'); plt.legend()
plt.show()
`);
  if (error !== undefined) throw new Error(error.traceback);
  const [plot] = results;
  const png = Buffer.from(plot.png, 'base64');
  // Width and height stand behind the name of the first chunk (PNG, 11.2.1).
  console.log(`a PNG of ${png.length} bytes, ${png.readUInt32BE(16)} x ${png.readUInt32BE(20)}`);
  console.log(`as data: ${plot.chart.type} "${plot.chart.title}" ${JSON.stringify(plot.chart.elements)}`);
  if (file !== undefined) writeFileSync(file, png);
} finally {
  await box.kill();
}
