/**
 * What Firecracker 1.17's OpenAPI document says of the objects that we send: each field's type, its words or bounds, and which are required.
 * Source: Firecracker, src/firecracker/swagger/firecracker.yaml, `paths` and `definitions`.
 */
export type Field =
  | { readonly type: 'string'; readonly words?: readonly string[] }
  | { readonly type: 'boolean' }
  | { readonly type: 'integer'; readonly min?: number; readonly max?: number }
  | { readonly type: 'object'; readonly of: Definition };

export interface Definition {
  readonly required: readonly string[];
  readonly fields: Readonly<Record<string, Field>>;
}

const text: Field = { type: 'string' };
const flag: Field = { type: 'boolean' };
const oneOf = (...words: readonly string[]): Field => ({ type: 'string', words });

const BUCKET: Definition = {
  required: ['refill_time', 'size'],
  fields: {
    one_time_burst: { type: 'integer', min: 0 },
    refill_time: { type: 'integer', min: 0 },
    size: { type: 'integer', min: 0 },
  },
};

const LIMITER: Field = {
  type: 'object',
  of: {
    required: [],
    fields: { bandwidth: { type: 'object', of: BUCKET }, ops: { type: 'object', of: BUCKET } },
  },
};

/** By method and path; `{}` stands for one path parameter. */
export const DEFINITIONS: Readonly<Record<string, Definition>> = {
  'PUT /logger': {
    required: [],
    fields: {
      level: oneOf('Error', 'Warning', 'Info', 'Debug', 'Trace', 'Off'),
      log_path: text,
      show_level: flag,
      show_log_origin: flag,
      module: text,
    },
  },
  'PUT /machine-config': {
    required: ['mem_size_mib', 'vcpu_count'],
    fields: {
      smt: flag,
      mem_size_mib: { type: 'integer' },
      track_dirty_pages: flag,
      vcpu_count: { type: 'integer', min: 1, max: 32 },
      huge_pages: oneOf('None', 'Transparent', '2M'),
    },
  },
  'PUT /boot-source': {
    required: ['kernel_image_path'],
    fields: { boot_args: text, initrd_path: text, kernel_image_path: text },
  },
  'PUT /drives/{}': {
    required: ['drive_id', 'is_root_device'],
    fields: {
      drive_id: text,
      partuuid: text,
      is_root_device: flag,
      cache_type: oneOf('Unsafe', 'Writeback'),
      is_read_only: flag,
      path_on_host: text,
      rate_limiter: LIMITER,
      io_engine: oneOf('Sync', 'Async'),
      socket: text,
    },
  },
  'PUT /vsock': {
    required: ['guest_cid', 'uds_path'],
    fields: { guest_cid: { type: 'integer', min: 3 }, uds_path: text, vsock_id: text },
  },
  'PUT /entropy': { required: [], fields: { rate_limiter: LIMITER } },
  'PUT /actions': {
    required: ['action_type'],
    fields: { action_type: oneOf('FlushMetrics', 'InstanceStart', 'SendCtrlAltDel') },
  },
  'PATCH /vm': { required: ['state'], fields: { state: oneOf('Paused', 'Resumed') } },
  'PUT /snapshot/create': {
    required: ['mem_file_path', 'snapshot_path'],
    fields: { mem_file_path: text, snapshot_path: text, snapshot_type: oneOf('Full', 'Diff') },
  },
  'PUT /snapshot/load': {
    required: ['snapshot_path'],
    fields: {
      track_dirty_pages: flag,
      mem_file_path: text,
      mem_backend: {
        type: 'object',
        of: {
          required: ['backend_type', 'backend_path'],
          fields: { backend_type: oneOf('File', 'Uffd'), backend_path: text },
        },
      },
      snapshot_path: text,
      resume_vm: flag,
      clock_realtime: flag,
    },
  },
};

/** What Firecracker would refuse a request for; empty: nothing. Unknown fields are refused (its types deny them). */
export function violations(method: string, path: string, body: unknown): readonly string[] {
  const known = DEFINITIONS[`${method} ${path.replace(/^\/drives\/[A-Za-z0-9_]+$/, '/drives/{}')}`];
  return known === undefined ? [`no ${method} ${path}`] : objectProblems(known, body, '');
}

function objectProblems({ required, fields }: Definition, value: unknown, at: string): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [`${at || 'body'}: no object`];
  const found: Readonly<Record<string, unknown>> = { ...value };
  const missing = required.filter((name) => found[name] === undefined).map((name) => `${at}${name}: missing`);
  const wrong = Object.entries(found).flatMap(([name, one]) => {
    const field = fields[name];
    return field === undefined ? [`${at}${name}: unknown`] : fieldProblems(field, one, `${at}${name}`);
  });
  return [...missing, ...wrong];
}

function fieldProblems(field: Field, value: unknown, at: string): readonly string[] {
  if (field.type === 'object') return objectProblems(field.of, value, `${at}.`);
  if (field.type === 'integer') {
    const fits = typeof value === 'number' && Number.isSafeInteger(value);
    return fits && value >= (field.min ?? 0) && value <= (field.max ?? Infinity)
      ? []
      : [`${at}: out of bounds`];
  }
  if (typeof value !== field.type) return [`${at}: no ${field.type}`];
  const isWord = field.type !== 'string' || field.words === undefined || field.words.includes(String(value));
  return isWord ? [] : [`${at}: no such word`];
}
