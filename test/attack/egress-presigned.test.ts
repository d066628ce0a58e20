// A URL or a header that somebody else signed for the allowed bucket. Source: EGRESS P69; cf. clawker #327.
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a request signed by another identity is refused at a pinned bucket', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'bucket', host: 's3.wild.test', credential: 'AWS' }],
    credentials: {
      AWS: {
        from: { accessKeyId: 'env:AWS_ACCESS_KEY_ID', secretAccessKey: 'env:AWS_SECRET_ACCESS_KEY' },
        expose: { env: { AWS_ACCESS_KEY_ID: 'accessKeyId', AWS_SECRET_ACCESS_KEY: 'secretAccessKey' } },
      },
    },
    env: {
      AWS_ACCESS_KEY_ID: 'AKIAQ7XW2M4N6P3R5T2V',
      AWS_SECRET_ACCESS_KEY: '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',
    },
    names: { 's3.wild.test': '93.184.216.40' },
  });
  const result = await box.probe(`
S3, ID, DATE = 's3.wild.test', os.environ['AWS_ACCESS_KEY_ID'], time.strftime('%Y%m%d')
scope = f'{DATE}/eu-west-1/s3/aws4_request'
query = lambda who: f'/bucket/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={who}%2F{scope.replace("/", "%2F")}&X-Amz-Date={DATE}T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=' + 'ab' * 32
header = lambda who: (f'Authorization: AWS4-HMAC-SHA256 Credential={who}/{scope}, SignedHeaders=host;x-amz-date, Signature=' + 'ab' * 32, f'x-amz-date: {DATE}T000000Z', 'x-amz-content-sha256: UNSIGNED-PAYLOAD')
other = 'AKIAATTACKERATTACKER'
ask('presigned', 'PUT', query(other), (), 'data', S3)
ask('signed', 'PUT', '/bucket/x', header(other), 'data', S3)
ask('own-id', 'PUT', query(ID), (), 'data', S3)
ask('own-id-header', 'PUT', '/bucket/x', header(ID), 'data', S3)
ask('both', 'PUT', query(other), header(ID), 'data', S3)
ask('legacy', 'PUT', f'/bucket/x?AWSAccessKeyId={other}&Signature=abcd&Expires=1', (), 'data', S3)
ask('v2', 'PUT', '/bucket/x', (f'Authorization: AWS {other}:abcd',), 'data', S3)
ask('token', 'PUT', '/bucket/x', ('x-amz-security-token: abcdefgh',), 'data', S3)
ask('anonymous', 'PUT', '/bucket/x', (), 'data', S3)
ask('form', 'POST', '/bucket', ('Content-Type: multipart/form-data; boundary=b',), f'--b\\r\\nContent-Disposition: form-data; name="X-Amz-Credential"\\r\\n\\r\\n{other}/{scope}\\r\\n--b--\\r\\n', S3)
control()
`);
  box.expectHeld(result, {
    presigned: '403 structural.pin.foreign',
    signed: '403 structural.pin.foreign',
    'own-id': '403 structural.',
    'own-id-header': '403 structural.',
    both: '403 structural.',
    legacy: '403 structural.pin.foreign',
    v2: '403 structural.pin.foreign',
    token: '403 structural.',
    anonymous: '403 structural.pin.missing',
    form: '403 structural.pin.missing',
  });
});
