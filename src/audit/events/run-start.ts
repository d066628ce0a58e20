import { optional, word, type EventSpec } from './spec.ts';

export interface RunStart {
  readonly policy: string;
  readonly plan: string;
  readonly tier: string;
  readonly driver: string;
  readonly workspace: string;
  readonly pid: number;
  readonly copyOf?: string;
}

export const runStart: EventSpec<RunStart> = {
  kind: 'run.start',
  doc: 'A sandbox starts. Nothing runs in it before this record stands.',
  fields: {
    policy: 'SHA-256 of the resolved policy',
    plan: 'SHA-256 of the plan',
    tier: 'process, container, vm or vm+gvisor',
    driver: 'bubblewrap, gvisor, docker or podman',
    workspace: 'the writable tree on the host',
    pid: 'process on the host that holds the sandbox',
    copyOf: 'the sandbox whose memory and processes it began with; absent where it began with none',
  },
  say: (data) =>
    `tier ${word(data, 'tier')}${optional(data, 'driver', ' by ')}, workspace ${word(data, 'workspace')}${optional(data, 'copyOf', ', a copy of ')}`,
};
