import http from 'node:http';
import type { Socket } from 'node:net';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { bypassesProxy, parseNoProxyEntry, type NoProxyEntry } from '../../net/no-proxy.ts';
import { hostOf } from './reach.ts';

/** The way out that the environment names for https. */
export interface RegistryProxy {
  readonly host: string;
  readonly port: number;
  /** The value of Proxy-Authorization. */
  readonly authorization?: string;
  readonly direct: readonly NoProxyEntry[];
}

/**
 * `HTTPS_PROXY` and `NO_PROXY`, in small letters first as curl reads them; undefined when none is set.
 *
 * @throws E_USAGE for a proxy that is not `http://[USER:PASSWORD@]HOST[:PORT]`
 */
export function proxyFromEnvironment(env: NodeJS.ProcessEnv): RegistryProxy | undefined {
  const value = env['https_proxy'] || env['HTTPS_PROXY'];
  if (value === undefined || value === '') return undefined;
  const text = value.includes('://') ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' || url.hostname === '')
    throw new GloveboxError('E_USAGE', {
      what: 'HTTPS_PROXY names no http proxy',
      next: 'Use http://HOST:PORT, or unset it for this command.',
    });
  const list = (env['no_proxy'] || env['NO_PROXY'] || '').split(/[\s,]+/);
  return {
    host: hostOf(url),
    port: url.port === '' ? 80 : Number(url.port),
    direct: list.flatMap((entry) => parseNoProxyEntry(entry) ?? []),
    ...(url.username === '' ? {} : { authorization: basic(url) }),
  };
}

function basic(url: URL): string {
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** True when a request goes through the proxy: https, and neither to this machine nor to what NO_PROXY names. */
export function usesProxy(proxy: RegistryProxy | undefined, url: URL): proxy is RegistryProxy {
  if (proxy === undefined || url.protocol !== 'https:') return false;
  return !bypassesProxy(proxy.direct, hostOf(url), url.port === '' ? 443 : Number(url.port));
}

/** A connection to the host of `url` through the proxy (RFC 9110 §9.3.6). @throws E_IMAGE_REGISTRY when it refuses, system errors */
export function openTunnel(proxy: RegistryProxy, url: URL, signal?: AbortSignal): Promise<Socket> {
  const authority = `${url.hostname}:${url.port === '' ? '443' : url.port}`;
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: proxy.host,
      port: proxy.port,
      method: 'CONNECT',
      path: authority,
      agent: false,
      headers: {
        host: authority,
        ...(proxy.authorization === undefined ? {} : { 'proxy-authorization': proxy.authorization }),
      },
      ...(signal === undefined ? {} : { signal }),
    });
    request.setTimeout(CAPS.registryIdleMs, () => request.destroy(new Error('it sent nothing for a while')));
    request.on('error', reject);
    request.on('connect', ({ statusCode = 0 }, socket: Socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy();
        reject(refused(proxy, url, statusCode));
        return;
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    request.end();
  });
}

function refused(proxy: RegistryProxy, url: URL, status: number): GloveboxError {
  return new GloveboxError('E_IMAGE_REGISTRY', {
    what: `the proxy ${proxy.host}:${proxy.port} does not lead to ${url.host}`,
    why: `it answers ${status}`,
    next: 'Check HTTPS_PROXY and NO_PROXY.',
  });
}
