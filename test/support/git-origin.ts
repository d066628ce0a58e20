import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import path from 'node:path';
import { expect } from 'vitest';
import type { Handler } from './inspection.ts';

const WHO = { GIT_AUTHOR_NAME: 'T', GIT_AUTHOR_EMAIL: 't@example.test', GIT_COMMITTER_NAME: 'T' };
export const IDENTITY = { ...WHO, GIT_COMMITTER_EMAIL: 't@example.test' };

/** A bare repository behind `git http-backend`, which takes pushes from anybody. */
export class GitOrigin implements Disposable {
  readonly dir = realpathSync(mkdtempSync('/var/tmp/gbx-git-'));
  /** `METHOD path` of what arrived, with the Authorization header. */
  readonly seen: { readonly line: string; readonly authorization: string | undefined }[] = [];
  /** Answers 401 unless a request bears this. */
  wants: string | undefined;

  constructor() {
    this.git('init', '--quiet', '--bare', '-b', 'main', 'repo.git');
    this.git('-C', 'repo.git', 'config', 'http.receivepack', 'true');
    mkdirSync(path.join(this.dir, 'seed'));
    this.git('-C', 'seed', 'init', '--quiet', '-b', 'main');
    this.commit('first');
  }

  /** Adds a commit on the outside and publishes it. */
  commit(message: string): void {
    if (message !== 'first') this.git('-C', 'seed', 'pull', '--quiet', '../repo.git', 'main');
    writeFileSync(path.join(this.dir, 'seed', message), `${message}\n`.repeat(1000));
    this.git('-C', 'seed', 'add', '.');
    this.git('-C', 'seed', 'commit', '--quiet', '-m', message);
    this.git('-C', 'seed', 'push', '--quiet', '../repo.git', 'main');
  }

  /** Subjects of the commits that the repository holds. */
  log(): readonly string[] {
    return this.git('-C', 'repo.git', 'log', '--format=%s', 'main').trim().split('\n');
  }

  git(...args: string[]): string {
    const env = { ...process.env, ...IDENTITY, HOME: this.dir, GIT_CONFIG_NOSYSTEM: '1' };
    const done = spawnSync('git', args, { cwd: this.dir, encoding: 'utf8', env });
    expect(done.status, done.stderr).toBe(0);
    return done.stdout;
  }

  readonly handler: Handler = (request, response) => {
    const { authorization } = request.headers;
    this.seen.push({ line: `${request.method} ${request.url}`, authorization });
    if (this.wants === undefined || authorization === this.wants) return this.#serve(request, response);
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
  };

  /** The CGI of git (RFC 3875): headers, an empty line, the body. */
  #serve(request: Http2ServerRequest, response: Http2ServerResponse): void {
    const url = new URL(request.url, 'https://git.invalid');
    const header = (name: string): string => String(request.headers[name] ?? '');
    const env = {
      PATH: process.env['PATH'],
      HOME: this.dir,
      GIT_PROJECT_ROOT: this.dir,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: header('content-type'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      HTTP_GIT_PROTOCOL: header('git-protocol'),
    };
    const child = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    child.stdin.on('error', () => undefined);
    request.pipe(child.stdin);
    let head: Buffer | undefined = Buffer.alloc(0);
    child.stdout.on('data', (chunk: Buffer) => {
      if (head === undefined) return void response.write(chunk);
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end === -1) return;
      begin(response, head.subarray(0, end).toString('latin1'));
      if (head.length > end + 4) response.write(head.subarray(end + 4));
      head = undefined;
    });
    child.stdout.on('end', () => response.end());
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function begin(response: Http2ServerResponse, head: string): void {
  let status = 200;
  const fields = head.split('\r\n').map((line) => line.split(/:\s*/, 2));
  for (const [name = '', value = ''] of fields) {
    if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.writeHead(status);
}
