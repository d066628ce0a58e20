import { expect, it } from 'vitest';
import { needsProgram } from '../support/attack.ts';
import { describeTiers, text } from '../support/code.ts';
import { spawnSync } from 'node:child_process';

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47]);

/** `it.skipIf` wants a reason in the title: a package of Debian that the host lends the sandbox. */
function lacks(module: string): boolean {
  return (
    needsProgram('python3') !== undefined ||
    spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status !== 0
  );
}

describeTiers('what a cell shows', (box) => {
  it('python: the last value, and what is displayed before it', async () => {
    const { results, text: main } = await box.cells('python', ['display("a", 2)\n_ = 5\n{"k": [1, 2]}']);
    expect(results.map((one) => [one.text, one.isMainResult])).toEqual([
      ["'a'", false],
      ['2', false],
      ["{'k': [1, 2]}", true],
    ]);
    expect(main).toBe("{'k': [1, 2]}");
    expect((await box.cells('python', ['x = 5', 'None'])).results).toEqual([]);
  });

  it('python: every form that a value has of itself', async () => {
    const code = `
class Rich:
  def __repr__(self): return 'plain'
  def _repr_html_(self): return '<b>h</b>'
  def _repr_markdown_(self): return '*m*'
  def _repr_svg_(self): return '<svg/>'
  def _repr_png_(self): return b'\\x89PNG'
  def _repr_jpeg_(self): return (b'\\xff\\xd8', {'width': 1})
  def _repr_latex_(self): return '$x$'
  def _repr_json_(self): return {'a': float('nan'), 'b': (1, 2), 3: {4}}
  def _repr_javascript_(self): return 'alert(1)'
  def _repr_mimebundle_(self, include=None, exclude=None): return {'application/vnd.own+json': {'own': 1}, 'text/html': 'other'}
Rich()`;
    const [result] = (await box.cells('python', [code])).results;
    expect(result).toMatchObject({
      text: 'plain',
      html: '<b>h</b>',
      markdown: '*m*',
      svg: '<svg/>',
      png: PNG.toString('base64'),
      jpeg: Buffer.from([0xff, 0xd8]).toString('base64'),
      latex: '$x$',
      json: { a: null, b: [1, 2], 3: [4] },
      javascript: 'alert(1)',
      extra: { 'application/vnd.own+json': { own: 1 } },
      isMainResult: true,
    });
    expect(result?.formats()).toEqual(
      expect.arrayContaining(['text', 'html', 'markdown', 'svg', 'png', 'jpeg', 'latex', 'json', 'extra']),
    );
  });

  it('python: a value that cannot be shown does no harm', async () => {
    const [odd, after] = await box.each('python', [
      'class Odd:\n  def __repr__(self): raise ValueError("no")\n  def _repr_html_(self): 1/0\nOdd()',
      '7',
    ]);
    expect(odd).toMatchObject({ text: '<Odd: repr failed with ValueError>' });
    expect(odd?.error).toBeUndefined();
    expect(after?.text).toBe('7');
  });

  it.skipIf(lacks('pandas'))('python: a data frame is html and data (python3-pandas)', async () => {
    const code = `
import pandas as pd
pd.DataFrame({'n': [1, 2], 'f': [0.5, float('nan')], 't': pd.to_datetime(['2024-01-02', None]), 's': ['a', None]})`;
    const [result] = (await box.cells('python', [code])).results;
    expect(result?.html).toContain('<table');
    expect(result?.text).toContain('2024-01-02');
    expect(result?.data).toEqual({
      n: [1, 2],
      f: [0.5, null],
      t: ['2024-01-02T00:00:00', expect.anything()],
      s: ['a', null],
    });
  });

  it.skipIf(lacks('matplotlib'))(
    'python: figures are pictures and chart data (python3-matplotlib)',
    async () => {
      const execution = await box.cells('python', [
        `
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], [1, 4, 9], label='squares'); plt.title('T'); plt.xlabel('X'); plt.ylabel('Y')
plt.show()
plt.bar(['a', 'b'], [3, 5])
plt.show()
plt.pie([1, 3], labels=['p', 'q'])
plt.figure(); plt.scatter([1, 2], [3, 4])
fig, (one, two) = plt.subplots(1, 2); one.plot([0, 1]); two.barh(['l'], [8]); _t = fig.suptitle('both')`,
      ]);
      expect(execution.error).toBeUndefined();
      const { results } = execution;
      expect(results).toHaveLength(5);
      for (const { png } of results) expect(Buffer.from(png ?? '', 'base64').subarray(0, 4)).toEqual(PNG);
      const [line, bar, pie, scatter, both] = results.map((one) => one.chart);
      expect(line).toMatchObject({
        type: 'line',
        title: 'T',
        x_label: 'X',
        y_label: 'Y',
        elements: [
          {
            label: 'squares',
            points: [
              [1, 1],
              [2, 4],
              [3, 9],
            ],
          },
        ],
      });
      expect(bar).toMatchObject({
        type: 'bar',
        elements: [
          { label: 'a', value: 3 },
          { label: 'b', value: 5 },
        ],
      });
      expect(pie).toMatchObject({
        type: 'pie',
        elements: [
          { label: 'p', angle: 90 },
          { label: 'q', angle: 270 },
        ],
      });
      expect(scatter).toMatchObject({
        type: 'scatter',
        elements: [
          {
            points: [
              [1, 3],
              [2, 4],
            ],
          },
        ],
      });
      expect(both).toMatchObject({
        type: 'superchart',
        title: 'both',
        elements: [{ type: 'line' }, { type: 'bar', elements: [{ label: 'l', value: 8 }] }],
      });
      expect(text(execution.logs.stderr)).not.toContain('Traceback');
    },
  );

  it.skipIf(lacks('matplotlib'))(
    'python: boxes are what they were drawn from, however they are drawn (python3-matplotlib)',
    async () => {
      const { results, error } = await box.cells('python', [
        `
import matplotlib.pyplot as plt
rows = [[1, 2, 3, 4, 5, 30], [10, 10, 20, 30, 30]]
plt.boxplot(rows); plt.xticks([1, 2], ['small', 'large']); plt.title('T'); plt.ylabel('ms')
plt.show()
plt.boxplot(rows[0], vert=False, patch_artist=True, notch=True, showfliers=False, positions=[3])
plt.show()
fig, (one, two) = plt.subplots(1, 2); one.boxplot(rows); one.clear(); one.plot([1, 2]); two.bxp([dict(label='own', med=2, q1=1, q3=3, whislo=0, whishi=4)], showfliers=False)
plt.show()
_t = plt.boxplot([[], [float('nan')]])`,
      ]);
      expect(error).toBeUndefined();
      const [standing, lying, both, empty] = results.map((one) => one.chart);
      const small = { min: 1, first_quartile: 2.25, median: 3.5, third_quartile: 4.75, max: 5 };
      expect(standing).toEqual({
        type: 'box_and_whisker',
        title: 'T',
        x_label: null,
        y_label: 'ms',
        x_scale: 'linear',
        y_scale: 'linear',
        elements: [
          { label: 'small', ...small, outliers: [30] },
          {
            label: 'large',
            min: 10,
            first_quartile: 10,
            median: 20,
            third_quartile: 30,
            max: 30,
            outliers: [],
          },
        ],
      });
      expect(lying).toMatchObject({ type: 'box_and_whisker', elements: [{ label: '3', ...small }] });
      expect(both).toMatchObject({
        type: 'superchart',
        elements: [
          { type: 'line' },
          { type: 'box_and_whisker', elements: [{ label: 'own', min: 0, median: 2, max: 4, outliers: [] }] },
        ],
      });
      expect(empty).toMatchObject({ elements: [{ median: null, outliers: [] }, { median: null }] });
      for (const { png } of results) expect(Buffer.from(png ?? '', 'base64').subarray(0, 4)).toEqual(PNG);
    },
  );

  it.skipIf(lacks('matplotlib'))(
    'python: a figure as last value comes once, a broken one is an error once',
    async () => {
      const [shown, broken, after] = await box.each('python', [
        'import matplotlib.pyplot as plt\nfig = plt.figure(); fig.add_subplot().plot([1]); fig',
        'plt.title("$\\\\frac$")',
        '1',
      ]);
      expect(shown?.results.filter((one) => one.png !== undefined)).toHaveLength(1);
      expect(broken?.error).toMatchObject({ name: 'ValueError' });
      expect(after?.error).toBeUndefined();
      expect(after?.text).toBe('1');
    },
  );

  it.each(['javascript', 'typescript'] as const)('%s: values, display and own forms', async (language) => {
    const { results } = await box.cells(language, [
      `display({ 'text/html': '<i>', 'image/png': new Uint8Array([1]), 'x/own': 1 }, { raw: true });
      display([1]);
      class Rich { [Symbol.for('Jupyter.display')]() { return { 'text/markdown': '*m*' }; } }
      display({ async [Symbol.for('Jupyter.display')]() { return { 'text/latex': '$l$' }; } });
      ({ big: 1n, nested: { a: [1, 2] }, rich: new Rich() }.rich)`,
    ]);
    expect(results).toMatchObject([
      { html: '<i>', png: 'AQ==', extra: { 'x/own': 1 }, isMainResult: false },
      { text: '[ 1 ]', json: [1] },
      { latex: '$l$' },
      { markdown: '*m*', isMainResult: true },
    ]);
  });

  it('javascript: what a program displays before it exits arrives', async () => {
    const { results, exitCode } = await box.cells('javascript', ['display("last"); process.exit(4)']);
    expect(results).toMatchObject([{ text: "'last'" }]);
    expect(exitCode).toBe(4);
  });

  it.each([
    ['python', 'b = "x" * (20 << 20)\ndisplay(b)\nclass H:\n  def _repr_html_(self): return b\nH()'],
    ['javascript', 'const b = "x".repeat(20 << 20); display({ "text/html": b }, { raw: true }); "end"'],
  ] as const)('%s: a result that is too large is named, not sent', async (language, code) => {
    const [large, after] = await box.each(language, [code, '1']);
    expect(large?.error).toBeUndefined();
    expect(large?.truncated).toBe(true);
    expect(JSON.stringify(large?.results)).toMatch(/too large to show/);
    expect(after?.text).toBe('1');
  });
});
