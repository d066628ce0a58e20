#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "proto.h"

uint16_t get_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t get_u64(const uint8_t *p) { return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32; }

static void put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t *p, uint32_t v) {
    put_u16(p, (uint16_t)v);
    put_u16(p + 2, (uint16_t)(v >> 16));
}

static uint32_t payload_limit(uint16_t type) {
    switch (type) {
    case F_AIRLOCK_SPEC:
    case F_BOOT:
    case F_EXEC:
    case F_FINISH_SPEC:
    case F_MACHINE:
        return FRAME_BOOT_MAX;
    default:
        return FRAME_PAYLOAD_MAX;
    }
}

bool frame_decode(const uint8_t head[FRAME_HEADER], struct frame *out) {
    out->length = get_u32(head);
    out->type = get_u16(head + 4);
    out->stream = get_u32(head + 8);
    return get_u16(head + 6) == 0 && out->length <= payload_limit(out->type);
}

int tlv_next(struct slice *rest, struct tlv *out) {
    if (rest->len == 0) return 0;
    if (rest->len < TLV_HEADER) return -1;
    uint32_t len = get_u32(rest->ptr + 2);
    if (len > rest->len - TLV_HEADER) return -1;
    out->tag = get_u16(rest->ptr);
    out->value = (struct slice){rest->ptr + TLV_HEADER, len};
    rest->ptr += TLV_HEADER + len;
    rest->len -= TLV_HEADER + len;
    return 1;
}

bool slice_u8(struct slice value, uint8_t *out) {
    if (value.len != 1) return false;
    *out = value.ptr[0];
    return true;
}

bool slice_u32(struct slice value, uint32_t *out) {
    if (value.len != 4) return false;
    *out = get_u32(value.ptr);
    return true;
}

bool buf_reserve(struct buf *b, size_t extra) {
    if (b->start + b->len + extra <= b->cap) return true;
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
        if (b->len + extra <= b->cap) return true;
    }
    size_t cap = b->cap == 0 ? 4096 : b->cap;
    while (cap < b->len + extra) cap *= 2;
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL) return false;
    b->data = data;
    b->cap = cap;
    return true;
}

bool buf_put(struct buf *b, const void *data, size_t len) {
    if (!buf_reserve(b, len)) return false;
    if (len > 0) memcpy(b->data + b->start + b->len, data, len);
    b->len += len;
    return true;
}

void buf_consume(struct buf *b, size_t len) {
    b->start += len;
    b->len -= len;
    if (b->len == 0) b->start = 0;
}

void buf_free(struct buf *b) {
    free(b->data);
    *b = (struct buf){0};
}

bool frame_begin(struct buf *b, uint16_t type, uint32_t stream, size_t *mark) {
    uint8_t head[FRAME_HEADER] = {0};
    put_u16(head + 4, type);
    put_u32(head + 8, stream);
    *mark = b->len;
    return buf_put(b, head, sizeof head);
}

void frame_end(struct buf *b, size_t mark) { put_u32(buf_head(b) + mark, (uint32_t)(b->len - mark - FRAME_HEADER)); }

bool frame_empty(struct buf *b, uint16_t type, uint32_t stream) {
    size_t mark;
    return frame_begin(b, type, stream, &mark);
}

bool tlv_put(struct buf *b, uint16_t tag, const void *data, size_t len) {
    uint8_t head[TLV_HEADER];
    put_u16(head, tag);
    put_u32(head + 2, (uint32_t)len);
    return buf_put(b, head, sizeof head) && buf_put(b, data, len);
}

bool tlv_u8(struct buf *b, uint16_t tag, uint8_t value) { return tlv_put(b, tag, &value, 1); }

bool tlv_u32(struct buf *b, uint16_t tag, uint32_t value) {
    uint8_t bytes[4];
    put_u32(bytes, value);
    return tlv_put(b, tag, bytes, sizeof bytes);
}

bool tlv_u64(struct buf *b, uint16_t tag, uint64_t value) {
    uint8_t bytes[8];
    put_u32(bytes, (uint32_t)value);
    put_u32(bytes + 4, (uint32_t)(value >> 32));
    return tlv_put(b, tag, bytes, sizeof bytes);
}

bool tlv_str(struct buf *b, uint16_t tag, const char *text) { return tlv_put(b, tag, text, strlen(text)); }

bool window_take(uint32_t *window, uint32_t n) {
    if (n > *window) return false;
    *window -= n;
    return true;
}

bool window_give(uint32_t *window, uint32_t n, uint32_t limit) {
    if (n > limit || *window > limit - n) return false;
    *window += n;
    return true;
}
