import { describe, expect, it } from 'vitest';
import { checkOptions } from './check-options.ts';

describe('options of a sandbox', () => {
  it.each([
    ['{ "tierr": "container" }', 'there is no option "tierr"', 'Did you mean tier?'],
    ['{ "tier": "containr" }', 'there is no tier "containr"', 'Did you mean container?'],
    ['{ "tier": "docker" }', 'there is no tier "docker"', 'Use one of process, container'],
    ['{ "__proto__": 1 }', 'there is no option "__proto__"', 'Use one of'],
  ])('%s is refused', (text, what, next) => {
    expect(() => checkOptions(JSON.parse(text))).toThrow(
      expect.objectContaining({ code: 'E_USAGE', what, next: expect.stringContaining(next) }),
    );
  });

  it('are taken where they are known, undefined ones too', () => {
    expect(() => checkOptions({ tier: 'container', temporary: true, image: 'python' })).not.toThrow();
  });
});
