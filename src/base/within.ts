/** True when the promise settled within that many milliseconds; a rejection in time is thrown. */
export async function within(limitMs: number, work: Promise<unknown>): Promise<boolean> {
  return race(
    limitMs,
    work.then(() => true),
    (resolve) => resolve(false),
  );
}

/** What the promise resolves with. When it has not settled within that many milliseconds, what `late` makes is thrown. */
export async function inTime<T>(limitMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  return race(limitMs, work, (_, reject) => reject(late()));
}

async function race<T>(
  limitMs: number,
  work: Promise<T>,
  over: (resolve: (value: T) => void, reject: (reason: Error) => void) => void,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<T>((resolve, reject) => {
    timer = setTimeout(() => over(resolve, reject), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
