import { describe, expect, it } from 'vitest';
import { loadDocument } from './import/load-document.ts';
import { PRESET_NAMES, PRESETS, presetWhy } from './presets.ts';

describe('presets', () => {
  it.each(PRESET_NAMES)('%s says why for every entry, each once', (name) => {
    const { allow, refuse, json } = PRESETS[name];
    const all = [...allow, ...refuse, ...json];
    expect(all.filter((entry) => entry.why.length < 8)).toEqual([]);
    expect(new Set(all.map((entry) => JSON.stringify(entry.value))).size).toBe(all.length);
    for (const entry of all) expect(presetWhy(entry.value)).toBe(entry.why);
  });

  it.each(PRESET_NAMES)('%s is what the language can say', (name) => {
    const written = { version: 1, network: { allow: [{ host: 'a.test', preset: name }] } };
    const requests = loadDocument(written).network.allow[0]?.requests;
    const { allow, refuse, json } = PRESETS[name];
    expect(requests?.allow).toEqual(allow.map((entry) => entry.value));
    expect(requests?.refuse).toEqual(refuse.map((entry) => entry.value));
    expect(requests?.json ?? []).toEqual(json.map((entry) => entry.value));
    // Written out by hand, an entry of a preset is valid too.
    const paths = [...allow, ...refuse].flatMap(({ value }) => value.path ?? []);
    expect(() =>
      loadDocument({
        version: 1,
        network: {
          allow: [{ host: 'a.test', paths, json: json.map(({ value }) => ({ path: value.path })) }],
        },
      }),
    ).not.toThrow();
  });

  it('are added to by the other keys of a rule', () => {
    const rule = {
      host: 'a.test',
      preset: 'package-registry',
      requests: [{ methods: ['PUT'], path: '/up' }],
      refuse: [{ path: '/secret/**' }],
    };
    const requests = loadDocument({ version: 1, network: { allow: [rule] } }).network.allow[0]?.requests;
    expect(requests?.allow).toEqual([
      { methods: ['GET', 'HEAD'], path: '/**' },
      { methods: ['PUT'], path: '/up' },
    ]);
    expect(requests?.refuse).toEqual([{ path: '/secret/**' }]);
  });
});
