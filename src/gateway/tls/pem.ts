const BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;

/** The certificates in a PEM text, DER. Comments and other kinds of blocks (keys among them) are left out. */
export function certificatesIn(text: string): Buffer[] {
  return [...text.matchAll(BLOCK)].map((match) => Buffer.from(match[1] ?? '', 'base64'));
}

/** PEM of DER bytes (RFC 7468). */
export function certificatePem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
