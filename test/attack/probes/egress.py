# Put after prelude.py for probes of the inspected gateway. Each request prints one line: NAME=STATUS RULE-OR-BODY.
import base64, functools, gzip, json, ssl

LLM, OTHER, GIT, EVIL = 'api.llm.test', 'files.other.test', 'git.forge.test', 'evil.attacker.test'
PLACEHOLDER = os.environ.get('LLM_API_KEY', '')
FOREIGN = 'sk-ant-api03-' + 'AttackerOwnKey0123456789' * 3
OWN = 'x-api-key: ' + PLACEHOLDER


@functools.cache
def trusting(alpn, checks_name):
    """Reading a hundred CAs anew for each connection takes most of its time where a processor is emulated."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    context.check_hostname = checks_name
    return context


def secure(host=LLM, sni=None, alpn=None, timeout=10, context=None):
    """A TLS connection that trusts what this sandbox is told to trust."""
    if context is None:
        context = trusting(tuple(alpn or ()), sni is None)
    elif alpn:
        context.set_alpn_protocols(alpn)
    context.check_hostname = context.check_hostname and sni is None
    return context.wrap_socket(socket.create_connection((host, 443), timeout), server_hostname=sni or host)


def head(method, target, lines=(), host=LLM, body=b''):
    """The bytes of one request; a body brings its length."""
    length = (f'Content-Length: {len(body)}',) if body else ()
    lines = (f'{method} {target} HTTP/1.1', f'Host: {host}', *lines, *length, '', '')
    return '\r\n'.join(lines).encode('latin-1') + body


def drain(link, limit=1 << 20):
    answer = b''
    try:
        while len(answer) < limit and (chunk := link.recv(65536)):
            answer += chunk
    except OSError:
        pass
    return answer


def verdict(answer):
    """Status, then the rule of a refusal or else the body."""
    first, _, body = answer.partition(b'\r\n\r\n')
    rule = [line[19:] for line in first.split(b'\r\n') if line.lower().startswith(b'x-glovebox-denied: ')]
    return ' '.join([first[9:12].decode(), (rule[0] if rule else body[:400]).decode('latin-1')]) if answer else 'nothing'


def show(name, answer):
    report(name, verdict(answer).replace('\n', ' ').replace('\r', ' '))


def raw(name, data, host=LLM, timeout=4, **how):
    """Sends bytes inside TLS and shows the first answer."""
    try:
        with secure(host, timeout=timeout, **how) as link:
            link.sendall(data)
            show(name, drain(link))
    except OSError as error:
        report(name, reason(error) if not isinstance(error, ssl.SSLError) else f'TLS {error.reason}')


def ask(name, method='POST', target='/v1/messages', lines=(OWN,), body=b'', host=LLM):
    """One whole request on a connection of its own."""
    body = body.encode() if isinstance(body, str) else body
    if body[:1] in (b'{', b'[') and not any(line.lower().startswith('content-type') for line in lines):
        lines = (*lines, 'Content-Type: application/json')
    raw(name, head(method, target, (*lines, 'Connection: close'), host, body), host, 10)


def control():
    """The honest request: everything else is refused although this one passes."""
    ask('control', body='{"model":"m"}')


def h2_frame(kind, flags, stream, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload


def h2_block(fields):
    """Literals without indexing and without Huffman coding, bytes as they are (RFC 7541 §6.2.2)."""
    def text(value):
        data = value.encode('latin-1')
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest, out = len(data) - 127, [127]
        while rest >= 128:
            out.append(rest % 128 + 128)
            rest //= 128
        return bytes([*out, rest]) + data
    return b''.join(b'\0' + text(name) + text(value) for name, value in fields)


def h2_fields(method='POST', path='/v1/messages', lines=(), authority=LLM):
    pseudo = [(':method', method), (':scheme', 'https'), (':authority', authority), (':path', path)]
    return pseudo + [tuple(line.split(': ', 1)) for line in lines]


class H2:
    """One HTTP/2 connection, frame by frame; bodies are read, heads are not (no HPACK reader)."""

    def __init__(self, host=LLM, timeout=5):
        self.link = secure(host, alpn=['h2'], timeout=timeout)
        self.link.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + h2_frame(4, 0, 0))
        self.next, self.ends, self.bodies, self.pending = 1, {}, {}, b''

    def request(self, fields, body=b'', end=True):
        stream, self.next = self.next, self.next + 2
        data = h2_frame(0, 1 if end else 0, stream, body) if body or not end else b''
        self.link.sendall(h2_frame(1, 4 if data else 5, stream, h2_block(fields)) + data)
        return stream

    def read(self, *streams):
        """Reads until these streams have ended; shows each as `rule`, body, `reset N` or `goaway`."""
        try:
            while not all(stream in self.ends for stream in streams) and 0 not in self.ends:
                self.step()
        except OSError:
            pass
        return [self.shown(stream) for stream in streams]

    def step(self):
        while len(self.pending) < 9 or len(self.pending) < 9 + int.from_bytes(self.pending[:3], 'big'):
            chunk = self.link.recv(65536)
            if not chunk:
                raise OSError(errno.ECONNRESET, 'closed')
            self.pending += chunk
        length = int.from_bytes(self.pending[:3], 'big')
        kind, flags, stream = self.pending[3], self.pending[4], int.from_bytes(self.pending[5:9], 'big') & 0x7fffffff
        payload, self.pending = self.pending[9:9 + length], self.pending[9 + length:]
        if kind == 4 and not flags & 1:
            self.link.sendall(h2_frame(4, 1, 0))
        if kind == 0:
            self.bodies[stream] = self.bodies.get(stream, b'') + payload
        if kind == 7:
            self.ends[0] = f'goaway {int.from_bytes(payload[4:8], "big")}'
        if kind == 3:
            self.ends[stream] = f'reset {int.from_bytes(payload, "big")}'
        if kind in (0, 1) and flags & 1:
            self.ends[stream] = 'whole'

    def shown(self, stream):
        body = self.bodies.get(stream, b'').decode('latin-1').strip()
        try:
            problem = json.loads(body)
            return f'{problem["status"]} {problem.get("rule", problem["detail"])}'
        except (ValueError, KeyError, TypeError):
            end = self.ends.get(stream, self.ends.get(0, 'nothing'))
            return f'200 {body}' if body else end
