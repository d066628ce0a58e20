/* Requests for work from the host. */
#include "work.h"

enum { ALL_FLAGS = WF_FOLLOW | WF_RECURSIVE | WF_PARENTS | WF_ATOMIC | WF_NO_REPLACE };

static bool take_u64(struct slice v, uint64_t *out) {
    if (v.len != 8) return false;
    *out = get_u64(v.ptr);
    return true;
}

static bool take_path(struct arena *a, struct slice v, char **out) {
    *out = v.len == 0 ? NULL : arena_text(a, v);
    return *out != NULL;
}

static bool work_take(struct work_spec *s, const struct tlv *t) {
    switch (t->tag) {
    case W_OP: return slice_u8(t->value, &s->op) && s->op >= OP_STAT && s->op <= OP_SYMLINK;
    case W_PATH: return take_path(&s->arena, t->value, &s->path) && s->path[0] == '/';
    case W_TARGET: return take_path(&s->arena, t->value, &s->target);
    case W_FLAGS: return slice_u32(t->value, &s->flags) && (s->flags & ~(uint32_t)ALL_FLAGS) == 0;
    case W_MODE:
        s->has_mode = true;
        return slice_u32(t->value, &s->mode) && s->mode <= 07777;
    case W_OFFSET: return take_u64(t->value, &s->offset);
    case W_LENGTH: return take_u64(t->value, &s->length);
    case W_DEPTH: return slice_u32(t->value, &s->depth) && s->depth >= 1 && s->depth <= DEPTH_MAX;
    case W_MAX: return slice_u32(t->value, &s->max);
    case W_PORT: return slice_u32(t->value, &s->port) && s->port >= 1 && s->port <= 65535;
    case W_TIMEOUT: return slice_u32(t->value, &s->timeout_ms) && s->timeout_ms <= TIMEOUT_MAX_MS;
    case W_HOW: return slice_u8(t->value, &s->how) && s->how >= HOW_TRUNCATE && s->how <= HOW_UPDATE;
    default: return false;
    }
}

/* What a request cannot do without. */
static const char *work_missing(const struct work_spec *s) {
    bool file = s->type == F_FILE;
    if (file != (s->op != 0)) return "a file operation without its kind";
    if ((file || s->type == F_WATCH) && s->path == NULL) return "no path";
    if (s->op == OP_WRITE && s->how == 0) return "no way of writing";
    if (s->op == OP_CHMOD && !s->has_mode) return "no mode";
    bool two = s->op == OP_RENAME || s->op == OP_SYMLINK;
    if (two != (s->target != NULL)) return "a target where none belongs, or none where one does";
    if (s->op == OP_RENAME && s->target[0] != '/') return "a relative target";
    if (s->type == F_WAIT_PORT && s->port == 0) return "no port";
    return NULL;
}

const char *work_parse(uint16_t type, struct slice payload, struct work_spec *s) {
    *s = (struct work_spec){.type = type, .depth = 1, .length = ~(uint64_t)0};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1)
        if (!work_take(s, &t)) return "unknown tag or bad value in a request for work";
    return more < 0 ? "malformed TLV" : work_missing(s);
}
