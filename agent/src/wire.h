/* The wire format: frames and TLV, little-endian. See docs/design/agent-protocol.md. Nothing here blocks or exits. */
#ifndef GLOVEBOX_WIRE_H
#define GLOVEBOX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_HEADER = 12,
    FRAME_PAYLOAD_MAX = 64 * 1024,
    FRAME_BOOT_MAX = 16 * 1024 * 1024,
    TLV_HEADER = 6,
};

struct slice {
    const uint8_t *ptr;
    size_t len;
};

struct frame {
    uint32_t length;
    uint16_t type;
    uint32_t stream;
};

struct tlv {
    uint16_t tag;
    struct slice value;
};

/* A growing byte queue: bytes live in data[start, start + len). */
struct buf {
    uint8_t *data;
    size_t start, len, cap;
};

uint16_t get_u16(const uint8_t *p);
uint32_t get_u32(const uint8_t *p);
uint64_t get_u64(const uint8_t *p);

/* Splits a header. False when the reserved flags are set or the payload is longer than its type allows. */
bool frame_decode(const uint8_t head[FRAME_HEADER], struct frame *out);

/* Takes one TLV off the front of `rest`: 1 taken, 0 at the end, -1 malformed. */
int tlv_next(struct slice *rest, struct tlv *out);

/* Fixed-size values; false when the length is wrong. */
bool slice_u8(struct slice value, uint8_t *out);
bool slice_u32(struct slice value, uint32_t *out);

/* Room for `extra` more bytes; false when memory is exhausted. */
bool buf_reserve(struct buf *b, size_t extra);
bool buf_put(struct buf *b, const void *data, size_t len);
void buf_consume(struct buf *b, size_t len);
void buf_free(struct buf *b);
static inline uint8_t *buf_head(const struct buf *b) { return b->data + b->start; }

/* Frames are written in place: begin, append the payload, end. The mark is an offset from the queue's head. */
bool frame_begin(struct buf *b, uint16_t type, uint32_t stream, size_t *mark);
void frame_end(struct buf *b, size_t mark);
bool frame_empty(struct buf *b, uint16_t type, uint32_t stream);

bool tlv_put(struct buf *b, uint16_t tag, const void *data, size_t len);
bool tlv_u8(struct buf *b, uint16_t tag, uint8_t value);
bool tlv_u32(struct buf *b, uint16_t tag, uint32_t value);
bool tlv_u64(struct buf *b, uint16_t tag, uint64_t value);
bool tlv_str(struct buf *b, uint16_t tag, const char *text);

/* Credit arithmetic: takes `n` from `window`, or adds to it; false when that would pass zero or the limit. */
bool window_take(uint32_t *window, uint32_t n);
bool window_give(uint32_t *window, uint32_t n, uint32_t limit);

#endif
