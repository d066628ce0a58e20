import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  missing,
  Outside,
  SampleOrigin,
  sumOf,
  tlsOrigin,
  WAYS,
  type LocalServer,
} from '../support/inspection.ts';
import { expectNothingLeft } from '../support/tree.ts';

const HOST = 'api.example.test';
const BASE = `https://${HOST}`;
const RULE = { id: 'api', host: HOST, methods: ['GET', 'POST'], paths: ['/v1/**'], http2: true };
const BODY = Buffer.alloc(300_000, 'b');

const GO = `package main
import ("bytes"; "encoding/json"; "fmt"; "io"; "net/http"; "os"; "sync")
func try(do func() (*http.Response, error)) []any {
	r, err := do()
	if err != nil { return []any{err.Error()} }
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return []any{r.Proto, r.StatusCode, string(b)}
}
func main() {
	base := os.Args[1]; tag := os.Args[2]
	out := [][]any{
		try(func() (*http.Response, error) { return http.Get(base + "/v1/go/" + tag) }),
		try(func() (*http.Response, error) { return http.Post(base + "/v1/sum", "text/plain", bytes.NewReader(bytes.Repeat([]byte("b"), 300000))) }),
		try(func() (*http.Response, error) { return http.Get(base + "/files/go/" + tag) }),
	}
	var all sync.WaitGroup
	many := make([][]any, 20)
	for i := range many { all.Add(1); go func(i int) { defer all.Done(); many[i] = try(func() (*http.Response, error) { return http.Get(fmt.Sprintf("%s/v1/go/%s/%d", base, tag, i)) }) }(i) }
	all.Wait()
	same := true
	for _, one := range many { same = same && len(one) == 3 && one[1] == 200 }
	out = append(out, []any{same})
	json.NewEncoder(os.Stdout).Encode(out)
}
`;

const JAVA = `import java.net.*; import java.net.http.*; import java.net.http.HttpRequest.*; import java.net.http.HttpResponse.*;
public class Client {
  static HttpClient client;
  static void show(HttpRequest.Builder request) throws Exception {
    HttpResponse<String> r = client.send(request.build(), BodyHandlers.ofString());
    System.out.println(r.version() + " " + r.statusCode() + " " + r.body().trim());
  }
  public static void main(String[] a) throws Exception {
    String base = a[0], tag = a[1];
    for (HttpClient.Version version : HttpClient.Version.values()) {
      client = HttpClient.newBuilder().version(version).proxy(ProxySelector.getDefault()).build();
      show(HttpRequest.newBuilder(URI.create(base + "/v1/java/" + tag)));
      show(HttpRequest.newBuilder(URI.create(base + "/v1/sum")).POST(BodyPublishers.ofString("b".repeat(300000))));
      show(HttpRequest.newBuilder(URI.create(base + "/files/java/" + tag)));
    }
    HttpURLConnection old = (HttpURLConnection) new URL(base + "/v1/old/" + tag).openConnection();
    System.out.println(old.getResponseCode());
  }
}
`;

let outside: Outside;
let server: LocalServer;
let box: TestBox;
let sandbox: Sandbox;
const origin = new SampleOrigin();

beforeAll(async () => {
  outside = new Outside([HOST]);
  server = await tlsOrigin(outside, origin.handler);
  box = new TestBox();
  sandbox = await inspected(box, { rules: [RULE], sites: { [HOST]: server.port }, outside });
});

afterAll(async () => {
  await sandbox?.kill();
  await expectNothingLeft(box);
  await server?.[Symbol.asyncDispose]();
  box?.[Symbol.dispose]();
  outside?.[Symbol.dispose]();
});

async function expectBoth(entry: string, name: string, http: string): Promise<void> {
  const common = { entry, host: HOST, http };
  await expectRecord(box, 'network.request', {
    ...common,
    action: 'allow',
    rule: 'api',
    path: `/v1/${name}/${entry}`,
  });
  const refused = { action: 'deny', rule: 'api.paths', status: 403, path: `/files/${name}/${entry}` };
  await expectRecord(box, 'network.request', { ...common, ...refused });
}

describe.skipIf(missing('go') !== '')(`Go net/http${missing('go')}`, () => {
  beforeAll(() => {
    // The module proxy is out of reach and not needed: everything is in the standard library.
    const env = {
      ...process.env,
      GO111MODULE: 'off',
      GOFLAGS: '',
      GOPROXY: 'off',
      GOCACHE: path.join(box.base, 'go'),
    };
    box.write('client.go', GO);
    execFileSync('go', ['build', '-o', 'client', 'client.go'], { cwd: box.workspace, env, stdio: 'pipe' });
  }, 180_000);

  it.each(WAYS)('with its default roots $way', async (way) => {
    const got = await inside(sandbox, way.wrap(['env', '-u', 'SSL_CERT_FILE', './client', BASE, way.entry]));
    expect(got).toMatchObject({ exitCode: 0, stderr: '' });
    const [hello, sum, refused, many] = JSON.parse(got.stdout) as [string, number, string][];
    expect(hello).toEqual(['HTTP/2.0', 200, 'hello over 2.0']);
    expect(sum).toEqual(['HTTP/2.0', 200, sumOf(BODY)]);
    expect(refused?.slice(0, 2)).toEqual(['HTTP/2.0', 403]);
    expect(JSON.parse(refused?.[2] ?? '')).toMatchObject({ rule: 'api.paths' });
    expect(many).toEqual([true]);
    await expectBoth(way.entry, 'go', '2');
  });
});

describe.skipIf(missing('java') !== '')(`Java HttpClient${missing('java')}`, () => {
  it.each(WAYS)('with its default trust store $way, HTTP/1.1 and HTTP/2', async (way) => {
    box.write('Client.java', JAVA);
    const proxy = 'p=${https_proxy#http://}; set -- -Dhttps.proxyHost=${p%:*} -Dhttps.proxyPort=${p#*:}';
    const script = `${way.entry === 'http-proxy' ? proxy : 'set --'}; exec java "$@" Client.java ${BASE} ${way.entry}`;
    const got = await inside(sandbox, ['bash', '-c', script]);
    expect(got.exitCode, got.stderr).toBe(0);
    const lines = got.stdout.trim().split('\n');
    const wanted = ['HTTP_1_1', 'HTTP_2'].flatMap((version) => [
      `${version} 200 hello over 2.0`,
      `${version} 200 ${sumOf(BODY)}`,
      expect.stringMatching(new RegExp(`^${version} 403 .*"rule":"api.paths"`)) as unknown,
    ]);
    expect(lines).toEqual([...wanted, '200']);
    await expectBoth(way.entry, 'java', '1.1');
    await expectBoth(way.entry, 'java', '2');
  });
});
