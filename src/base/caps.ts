/** Every numeric cap, with its unit in the name and the reason beside it. */
export const CAPS = {
  /** A policy file larger than this is not a policy written by a person. */
  policyFileBytes: 1024 * 1024,
  /** `extends` deeper than this is a cycle or a mistake. */
  policyExtendsDepth: 8,
  /** Deny matches: one mount each; the kernel allows 100,000 mounts a namespace. */
  maskCount: 20_000,
  /** Directory entries visited while a deny glob is expanded, before the policy is refused as too broad. */
  globVisits: 2_000_000,
  /** Frames from a sandbox: larger is garbage or an attack. */
  framePayloadBytes: 64 * 1024,
  /** Boot messages go to the sandbox, they hold argv, environment and the mask list. */
  bootPayloadBytes: 16 * 1024 * 1024,
  /** Credit a stream starts with, and the most that may be unread on the host per stream. */
  streamWindowBytes: 256 * 1024,
  /** Streams at once in one sandbox. */
  streamCount: 1024,
  /** Short file operations at once in one sandbox: each is a process inside; the rest wait their turn. */
  fileOperations: 16,
  /** Entries of one listing, unless the caller says otherwise: some 60 MB on the host. */
  fileEntries: 200_000,
  /** One answer from inside that is kept whole, such as a listing: `fileEntries` of the longest names in one directory fit. */
  answerBytes: 64 * 1024 * 1024,
  /** A file that is read in one piece; larger ones are streamed. */
  fileReadBytes: 256 * 1024 * 1024,
  /** Directories of one recursive watch: half of what older kernels allow a user. */
  fileWatches: 4096,
  /** Processes and ports in one answer. */
  processCount: 65_536,
  /** Output kept of one command for readers that come later, unless the caller says otherwise. */
  keptOutputBytes: 1024 * 1024,
  /** Output that a captured command may buffer on the host when no limit says otherwise. */
  capturedOutputBytes: 16 * 1024 * 1024,
  /** TCP listeners in a sandbox's namespace: one socket for each port the policy names. */
  listenerPorts: 256,
  /** Time the airlock and the agent have to be ready; a loaded two-core machine took 3 s at worst. */
  startMs: 30_000,
  /** The same for a guest kernel in an emulated machine, where it takes ten times as long. */
  nestedStartMs: 120_000,
  /** A machine's boot: an emulated one takes two seconds by itself, and twenty at once on two cores take a minute. */
  machineStartMs: 120_000,
  /** Between TERM and KILL. */
  graceMs: 5_000,
  /** A name on the wire (RFC 1035 §2.3.4). */
  dnsNameBytes: 253,
  /** One canonical audit line; longer fields are cut and marked. */
  auditLineBytes: 64 * 1024,
  /** An audit file is rotated beyond this. */
  auditFileBytes: 32 * 1024 * 1024,
  /** How long a writer waits for the audit lock before the run is refused. */
  auditLockMs: 10_000,
  /** Appeared files that are listed on the terminal; the record has all, up to this many times 50. */
  appearedShown: 20,
  /** Layers of one image; the overlay file system of other engines stops at 128. */
  imageLayers: 256,
  /** An index, manifest or configuration: the distribution specification wants registries to take 4 MiB. */
  imageDocumentBytes: 4 * 1024 * 1024,
  /** One compressed layer, as it is fetched. */
  imageBlobBytes: 16 * 1024 ** 3,
  /** What all layers of one image may unpack to. */
  imageBytes: 32 * 1024 ** 3,
  /** Files, directories and links of all layers together: a large desktop image has half a million. */
  imageEntries: 2_000_000,
  /** The paths of all of them: they are held in memory while a layer is unpacked. Half a million take some 40 MB. */
  imageNamesBytes: 512 * 1024 * 1024,
  /** Compressed to plain: a compiler's object files reach 20, an archive of zeros 1000. Counts beyond `imageRatioFreeBytes`. */
  imageRatio: 200,
  imageRatioFreeBytes: 256 * 1024 * 1024,
  /** Directories below each other in an image. */
  imageDepth: 128,
  /** NAME_MAX and PATH_MAX (limits.h). */
  imageNameBytes: 255,
  imagePathBytes: 4096,
  /** Extended headers of one tar entry: they hold names and times. */
  imageHeaderBytes: 1024 * 1024,
  /** And how many of them in a row: pax writes two, GNU tar two. */
  imageHeaders: 8,
  /** Skipped entries that are listed by name; all are counted. */
  imageSkippedShown: 20,
  /** Hosts that a step of a recipe was refused, in a message. */
  stepRefusedShown: 10,
  /** A registry that sends nothing for this long is given up. */
  registryIdleMs: 60_000,
  /** Pieces of an image that are mounted one by one; each costs a mount. */
  imageAssembled: 2000,
  /** Redirects in a row for one blob. */
  registryRedirects: 5,
  /** How long one process waits for another that fetches or unpacks the same thing. */
  imageLockMs: 20 * 60_000,
  /** Everything that a workspace holds when it is copied for a review, and everything new that is kept of one. */
  reviewBytes: 4 * 1024 ** 3,
  /** Files, directories and links of a copy: each is a record in memory. */
  reviewEntries: 200_000,
  /** Changes of one review; a person reads them. */
  reviewChanges: 50_000,
  /** Directories in directories of a copy: each level holds two descriptors. */
  reviewDepth: 100,
  reviewPathLength: 3000,
  /** Text of one file, old or new, that is compared line by line. */
  reviewDiffBytes: 1024 * 1024,
  /** Lines that differ in one file, before it is shown as replaced whole: time and memory grow with the square. */
  reviewDiffEdits: 2000,
  /** Paths of a decision in its record. */
  reviewRecorded: 200,
  /** A recipe is written by a person. */
  recipeBytes: 1024 * 1024,
} as const;
