/** Why a step failed, where its last words or its refusals tell, and what helps. */
export interface StepHint {
  readonly why?: string;
  readonly next?: string;
}

/** What programs say when they want to become somebody else (shadow, util-linux, coreutils, apt). */
const OTHER_USER =
  /(?:setgroups|setuid|setgid|seteuid|setegid|setresuid|setresgid|set groups|switch user|switch group|set(?:ting)? (?:user|group))\b.*(?:Operation not permitted|Invalid argument|EPERM|EINVAL)/i;
/** `mkdir /data`, `touch /data`: dash, coreutils, Python and Node say it in one of these ways. */
const TOP_LEVEL =
  /(?:cannot (?:create|touch|make|open)|can't create|mkdir|open)[^\n]{0,60}?['‘" ](\/[^/\s'’":]+)['’"]?: (?:Permission denied|Read-only file system|directory nonexistent)|(?:EROFS|EACCES|Errno 30|Errno 13)[^\n]{0,80}'(\/[^/'\n]+)'/;

/** Judged by words and records of a step that may say anything: it decides what a person reads, nothing else. */
export function stepHint(said: string, refused: readonly string[]): StepHint {
  if (refused.length > 0)
    return {
      why: `it was refused ${refused.join(', ')}`,
      next: `A step reaches what --allow names: ${refused.map((host) => `--allow ${host}`).join(' ')}, or a --profile such as python or node.`,
    };
  if (OTHER_USER.test(said))
    return {
      why: 'a step is root in name only and cannot become another user',
      next: 'Run the program as it is; for apt-get the user _apt is left out already.',
    };
  const top = TOP_LEVEL.exec(said);
  const dir = top?.[1] ?? top?.[2];
  if (dir !== undefined)
    return {
      why: 'a step makes nothing at the top level of the image',
      next: `Put \`WORKDIR ${dir}\` before it: that makes the directory.`,
    };
  return {};
}
