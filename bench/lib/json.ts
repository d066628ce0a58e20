/** Named numbers, as the helper programs print them: the last line of their output. @throws when it is something else. */
export function readNumbers(output: string): Readonly<Record<string, number>> {
  const line = output.trim().split('\n').at(-1) ?? '';
  const value: unknown = JSON.parse(line);
  if (!isNumbers(value)) throw new Error(`numbers by name were expected, not ${line.slice(0, 200)}`);
  return value;
}

function isNumbers(value: unknown): value is Readonly<Record<string, number>> {
  return typeof value === 'object' && value !== null && Object.values(value).every(Number.isFinite);
}
