#include "spec.h"

#include <string.h>

#include "proto.h"

static const char malformed[] = "malformed TLV";
static const char unknown[] = "unknown tag";
enum { BOOT_FLAGS = BOOT_KEEP_CAPABILITIES | BOOT_OWN_NETWORK | BOOT_HAND_CHANNEL };

static const char bad_value[] = "value of wrong length or content";

bool path_is_plain(const char *path) {
    for (const char *p = path;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
        if (p[n] == '\0') return true;
        p += n + 1;
    }
}

static bool take_text(struct arena *a, struct slice v, char **out) {
    *out = arena_text(a, v);
    return *out != NULL && v.len > 0;
}

static bool take_scratch_file(struct airlock_spec *s, struct slice v) {
    s->files = arena_grow(&s->arena, s->files, s->file_count, &s->file_cap, sizeof *s->files);
    if (s->files == NULL) return false;
    struct scratch_file *f = &s->files[s->file_count++];
    *f = (struct scratch_file){.mode = 0600};
    struct tlv t;
    int more;
    while ((more = tlv_next(&v, &t)) == 1) {
        bool ok = false;
        if (t.tag == SF_NAME) ok = take_text(&s->arena, t.value, &f->name) && path_is_plain(f->name);
        if (t.tag == SF_MODE) ok = slice_u32(t.value, &f->mode) && f->mode <= 0777;
        if (t.tag == SF_CONTENT) {
            f->content = t.value;
            ok = true;
        }
        if (!ok) return false;
    }
    return more == 0 && f->name != NULL;
}

static bool take_assembled(struct airlock_spec *s, struct slice v) {
    s->assembled = arena_grow(&s->arena, s->assembled, s->assembled_count, &s->assembled_cap, sizeof *s->assembled);
    if (s->assembled == NULL) return false;
    struct assembled *a = &s->assembled[s->assembled_count++];
    *a = (struct assembled){0};
    struct tlv t;
    int more;
    while ((more = tlv_next(&v, &t)) == 1) {
        bool ok = false;
        if (t.tag == AS_KIND) ok = slice_u8(t.value, &a->kind) && a->kind >= ASSEMBLE_DIR && a->kind <= ASSEMBLE_POINT;
        if (t.tag == AS_NAME) ok = take_text(&s->arena, t.value, &a->name) && path_is_plain(a->name);
        if (t.tag == AS_SOURCE) ok = take_text(&s->arena, t.value, &a->source) && a->source[0] == '/';
        if (!ok) return false;
    }
    return more == 0 && a->kind != 0 && a->name != NULL && (a->kind == ASSEMBLE_DIR) == (a->source == NULL);
}

static bool take_mask(struct airlock_spec *s, struct slice v) {
    if (v.len < 9) return false;
    s->masks = arena_grow(&s->arena, s->masks, s->mask_count, &s->mask_cap, sizeof *s->masks);
    if (s->masks == NULL) return false;
    struct mask *m = &s->masks[s->mask_count++];
    *m = (struct mask){.kind = v.ptr[0], .expect = v.ptr[1], .flags = get_u16(v.ptr + 2), .root = get_u32(v.ptr + 4)};
    bool known = m->kind >= MASK_HIDE && m->kind <= MASK_PLACEHOLDER && m->expect <= EXPECT_SYMLINK &&
                 m->flags <= (MASK_MUST_EXIST | MASK_SKIP_MISSING | MASK_COVER_HIDDEN | MASK_DOT_FILE) && m->root < s->roots.count;
    return known && take_text(&s->arena, (struct slice){v.ptr + 8, v.len - 8}, &m->path) && path_is_plain(m->path);
}

bool listener_take(struct arena *a, struct listeners *list, struct slice v) {
    if (v.len != 8 || v.ptr[5] != 0) return false;
    list->items = arena_grow(a, list->items, list->count, &list->cap, sizeof *list->items);
    if (list->items == NULL) return false;
    struct listener *l = &list->items[list->count++];
    *l = (struct listener){.id = get_u32(v.ptr), .proto = v.ptr[4], .port = get_u16(v.ptr + 6)};
    return l->proto == PROTO_TCP || l->proto == PROTO_UDP;
}

static const char *airlock_take(struct airlock_spec *s, const struct tlv *t) {
    struct arena *a = &s->arena;
    uint8_t byte = 0;
    bool ok;
    switch (t->tag) {
    case A_PARENT_PID: ok = slice_u32(t->value, &s->parent_pid); break;
    case A_CGROUP: ok = strings_push(a, &s->cgroups, t->value); break;
    case A_SCRATCH: ok = take_text(a, t->value, &s->scratch) && s->scratch[0] == '/'; break;
    case A_SCRATCH_FILE: ok = take_scratch_file(s, t->value); break;
    case A_ROOT: ok = t->value.len > 0 && t->value.ptr[0] == '/' && strings_push(a, &s->roots, t->value); break;
    case A_MASK: ok = take_mask(s, t->value); break;
    case A_NETWORK:
        ok = slice_u8(t->value, &byte) && byte <= 1;
        s->network = byte == 1;
        break;
    case A_LISTENER: ok = listener_take(&s->arena, &s->listeners, t->value); break;
    case A_ARGV: ok = strings_push(a, &s->argv, t->value); break;
    case A_ENV: ok = strings_push(a, &s->env, t->value); break;
    case A_ASSEMBLED: ok = take_assembled(s, t->value); break;
    default: return unknown;
    }
    return ok ? NULL : bad_value;
}

const char *airlock_parse(struct slice payload, struct airlock_spec *s) {
    *s = (struct airlock_spec){0};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1) {
        const char *problem = airlock_take(s, &t);
        if (problem != NULL) return problem;
    }
    if (more < 0) return malformed;
    if (s->parent_pid == 0) return "no parent pid";
    if (s->scratch == NULL) return "no scratch directory";
    if (s->argv.count == 0 || s->argv.items[0][0] != '/') return "no program with an absolute path";
    if (s->mask_count > MASKS_MAX) return "too many masks";
    if (s->listeners.count > 0 && !s->network) return "listeners without a network";
    return NULL;
}

static bool take_rlimit(struct arena *a, struct rlimits *list, struct slice v) {
    if (v.len != 24) return false;
    list->items = arena_grow(a, list->items, list->count, &list->cap, sizeof *list->items);
    if (list->items == NULL) return false;
    list->items[list->count++] = (struct rlimit_spec){get_u32(v.ptr), get_u64(v.ptr + 8), get_u64(v.ptr + 16)};
    return true;
}

static bool take_verify(struct boot_spec *s, struct slice v) {
    if (v.len < 2 || v.ptr[0] < VERIFY_HIDDEN || v.ptr[0] > VERIFY_IDENTITY) return false;
    s->verifies = arena_grow(&s->arena, s->verifies, s->verify_count, &s->verify_cap, sizeof *s->verifies);
    if (s->verifies == NULL) return false;
    struct verify *item = &s->verifies[s->verify_count++];
    item->kind = v.ptr[0];
    size_t head = 1;
    if (item->kind == VERIFY_IDENTITY) {
        if (v.len < 18) return false;
        item->ino = get_u64(v.ptr + 1);
        item->major = get_u32(v.ptr + 9);
        item->minor = get_u32(v.ptr + 13);
        head = 17;
    }
    return take_text(&s->arena, (struct slice){v.ptr + head, v.len - head}, &item->path);
}

static bool take_rule(struct boot_spec *s, struct slice v) {
    if (v.len < 13) return false;
    s->rules = arena_grow(&s->arena, s->rules, s->rule_count, &s->rule_cap, sizeof *s->rules);
    if (s->rules == NULL) return false;
    struct landlock_rule *rule = &s->rules[s->rule_count++];
    *rule = (struct landlock_rule){.access = get_u64(v.ptr), .flags = get_u32(v.ptr + 8)};
    return rule->flags <= LANDLOCK_RULE_OPTIONAL &&
           take_text(&s->arena, (struct slice){v.ptr + 12, v.len - 12}, &rule->path);
}

/* The kernel takes at most BPF_MAXINSNS (4096) instructions. */
static bool take_filter(struct boot_spec *s, struct slice v) {
    if (v.len == 0 || v.len % 8 != 0 || v.len / 8 > 4096) return false;
    s->filter_len = v.len / 8;
    s->filter = arena_alloc(&s->arena, s->filter_len * sizeof *s->filter);
    if (s->filter == NULL) return false;
    for (size_t i = 0; i < s->filter_len; i++) {
        const uint8_t *p = v.ptr + i * 8;
        s->filter[i] = (struct k_sock_filter){get_u16(p), p[2], p[3], get_u32(p + 4)};
    }
    return true;
}

static bool take_ids(struct boot_spec *s, struct slice v) {
    if (v.len != 8) return false;
    s->guest = true;
    s->uid = get_u32(v.ptr);
    s->gid = get_u32(v.ptr + 4);
    return true;
}

static const char *boot_take(struct boot_spec *s, const struct tlv *t) {
    bool ok;
    switch (t->tag) {
    case B_MODE: ok = slice_u8(t->value, &s->mode); break;
    case B_VERIFY: ok = take_verify(s, t->value); break;
    case B_LANDLOCK_RULE: ok = take_rule(s, t->value); break;
    case B_LANDLOCK_MODE: ok = slice_u8(t->value, &s->landlock_mode) && s->landlock_mode <= LANDLOCK_REQUIRED; break;
    case B_SECCOMP: ok = take_filter(s, t->value); break;
    case B_RLIMIT: ok = take_rlimit(&s->arena, &s->rlimits, t->value); break;
    case B_EXEC:
        s->exec = t->value;
        ok = true;
        break;
    case B_FLAGS: ok = slice_u32(t->value, &s->flags) && s->flags <= BOOT_FLAGS; break;
    case B_IDS: ok = take_ids(s, t->value); break;
    case B_RELAY: ok = take_text(&s->arena, t->value, &s->relay) && s->relay[0] == '/'; break;
    case B_LISTENER: ok = listener_take(&s->arena, &s->listeners, t->value); break;
    default: return unknown;
    }
    return ok ? NULL : bad_value;
}

const char *boot_parse(struct slice payload, struct boot_spec *s) {
    *s = (struct boot_spec){0};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1) {
        const char *problem = boot_take(s, &t);
        if (problem != NULL) return problem;
    }
    if (more < 0) return malformed;
    if (s->mode != MODE_ONESHOT && s->mode != MODE_SERVE) return "no mode";
    if ((s->mode == MODE_ONESHOT) != (s->exec.ptr != NULL)) return "a one-shot boot needs a command, a serving one none";
    if (s->listeners.count > 0 && s->relay == NULL) return "listeners without a relay";
    return NULL;
}

static bool take_stdio(struct exec_spec *s, struct slice v) {
    if (v.len != 3) return false;
    for (int i = 0; i < 3; i++) {
        if (v.ptr[i] > (i == 0 ? STDIO_CONTROL : STDIO_NULL)) return false;
        s->stdio[i] = v.ptr[i];
    }
    return true;
}

static const char *exec_take(struct exec_spec *s, const struct tlv *t) {
    struct arena *a = &s->arena;
    bool ok;
    switch (t->tag) {
    case X_ARGV: ok = strings_push(a, &s->argv, t->value); break;
    case X_ENV: ok = strings_push(a, &s->env, t->value); break;
    case X_CWD: ok = take_text(a, t->value, &s->cwd) && s->cwd[0] == '/'; break;
    case X_STDIO: ok = take_stdio(s, t->value); break;
    case X_WINSIZE:
        ok = t->value.len == 4;
        if (ok) s->rows = get_u16(t->value.ptr), s->cols = get_u16(t->value.ptr + 2);
        break;
    case X_RLIMIT: ok = take_rlimit(a, &s->rlimits, t->value); break;
    case X_CHANNEL: ok = slice_u8(t->value, &s->channel) && s->channel > 2; break;
    default: return unknown;
    }
    return ok ? NULL : bad_value;
}

const char *exec_parse(struct slice payload, struct exec_spec *s) {
    *s = (struct exec_spec){.stdio = {STDIO_NULL, STDIO_PIPE, STDIO_PIPE}, .rows = 24, .cols = 80};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1) {
        const char *problem = exec_take(s, &t);
        if (problem != NULL) return problem;
    }
    if (more < 0) return malformed;
    if (s->argv.count == 0 || s->argv.items[0][0] == '\0') return "no command";
    if (s->cwd == NULL) return "no working directory";
    return NULL;
}

static bool take_finish_path(struct finish_spec *s, struct slice v) {
    if (v.len < 5) return false;
    s->paths = arena_grow(&s->arena, s->paths, s->path_count, &s->path_cap, sizeof *s->paths);
    if (s->paths == NULL) return false;
    struct finish_path *p = &s->paths[s->path_count++];
    p->root = get_u32(v.ptr);
    return p->root < s->roots.count && take_text(&s->arena, (struct slice){v.ptr + 4, v.len - 4}, &p->path) &&
           path_is_plain(p->path);
}

static const char *finish_take(struct finish_spec *s, const struct tlv *t) {
    struct arena *a = &s->arena;
    bool ok;
    switch (t->tag) {
    case FS_ROOT: ok = t->value.len > 0 && t->value.ptr[0] == '/' && strings_push(a, &s->roots, t->value); break;
    case FS_PATH: ok = take_finish_path(s, t->value); break;
    case FS_UMASK: ok = slice_u32(t->value, &s->umask) && s->umask <= 0777; break;
    case FS_SCAN_ROOT: ok = take_text(a, t->value, &s->scan_root) && s->scan_root[0] == '/'; break;
    case FS_MEMORY: ok = take_text(a, t->value, &s->memory) && s->memory[0] == '/'; break;
    case FS_SINCE:
        ok = t->value.len == 12;
        if (ok) s->since_sec = (int64_t)get_u64(t->value.ptr), s->since_nsec = get_u32(t->value.ptr + 8);
        break;
    case FS_PATTERN: ok = t->value.len > 0 && strings_push(a, &s->patterns, t->value); break;
    case FS_MAX_RESULTS: ok = slice_u32(t->value, &s->max_results); break;
    case FS_MAX_ENTRIES: ok = slice_u32(t->value, &s->max_entries); break;
    case FS_MAX_DEPTH: ok = slice_u32(t->value, &s->max_depth) && s->max_depth <= 1000; break;
    default: return unknown;
    }
    return ok ? NULL : bad_value;
}

const char *finish_parse(struct slice payload, struct finish_spec *s) {
    *s = (struct finish_spec){.umask = 022, .max_results = 1000, .max_entries = 2000000, .max_depth = 256};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1) {
        const char *problem = finish_take(s, &t);
        if (problem != NULL) return problem;
    }
    return more < 0 ? malformed : NULL;
}
