/** Bounds of the code runner; everything a kernel sends is hostile. */
export const CODE_CAPS = {
  /** A program that is larger is data, and belongs into a file. */
  codeBytes: 8 * 1024 * 1024,
  /** One frame of a kernel: a result with a large picture in base64. */
  frameBytes: 16 * 1024 * 1024,
  /** `kind id length` of a frame. */
  headBytes: 128,
  /** Results of one cell that are kept, and what all of them may hold. */
  results: 1000,
  resultBytes: 64 * 1024 * 1024,
  /** Numbers, texts, arrays and objects in the results of one cell: some 15 MB on the host, and 0.2 s to make them at worst. */
  resultValues: 250_000,
  /** Levels of arrays and objects in what a result holds as data; whoever reads it may go through it by recursion. */
  resultDepth: 100,
  /** Output of one cell that is kept, of each stream. */
  outputBytes: 16 * 1024 * 1024,
  /** A cell that was interrupted gets this long to notice. */
  interruptMs: 2000,
  /** An interrupt that can be lost is repeated this often, at this distance in ms: within the time above. */
  repeats: 4,
  repeatMs: 400,
  /** A kernel that has answered may be this late with the last of its output, in ms: a cell that closed its stdout never marks it. */
  markMs: 1000,
  /** From the start of a kernel to its first word. In a guest kernel of an emulated machine, on a host with nine tasks for each processor, Python took 40 s. */
  startMs: 120_000,
  defaultTimeoutMs: 60_000,
  /** Contexts of one sandbox at once. */
  contexts: 64,
} as const;
