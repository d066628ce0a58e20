/* What a machine is told about its sandbox. */
#include <string.h>

#include "machine.h"
#include "proto.h"

enum { HOSTNAME_MAX = 64, ID_BYTES = 16, SEED_MIN = 16, SEED_MAX = 1024, NETWORK_BYTES = 6 };

static bool take_text(struct arena *a, struct slice v, char **out) {
    *out = v.len == 0 ? NULL : arena_text(a, v);
    return *out != NULL;
}

/* An absolute path, as what comes behind its first slash. */
static bool take_target(struct arena *a, struct slice v, char **out) {
    if (!take_text(a, v, out) || (*out)[0] != '/') return false;
    *out += 1;
    return path_is_plain(*out);
}

static bool take_source(struct arena *a, struct slice v, char **out) {
    if (v.len == 1 && v.ptr[0] == '/') v.ptr = (const uint8_t *)"/.", v.len = 2;
    if (!take_text(a, v, out) || (*out)[0] != '/') return false;
    *out += 1;
    return strcmp(*out, ".") == 0 || path_is_plain(*out);
}

static bool take_u64(struct slice v, uint64_t *out) {
    if (v.len != 8) return false;
    *out = get_u64(v.ptr);
    return true;
}

static bool mount_take(struct arena *a, struct machine_mount *m, const struct tlv *t) {
    uint8_t byte = 0;
    switch (t->tag) {
    case MM_TARGET: return m->target == NULL && take_target(a, t->value, &m->target);
    case MM_SOURCE:
        if (m->source != NULL) return false;
        return m->kind == MOUNT_SYMLINK ? take_text(a, t->value, &m->source) : take_source(a, t->value, &m->source);
    case MM_WRITABLE:
        if (!slice_u8(t->value, &byte) || byte > 1) return false;
        m->writable = byte == 1;
        return true;
    case MM_MODE: return slice_u32(t->value, &m->mode) && m->mode <= 07777;
    case MM_BYTES: return take_u64(t->value, &m->bytes);
    case MM_CONTENT: m->content = t->value; return true;
    default: return false;
    }
}

/* Files of the machine itself: those that a guest kernel's runtime needs (the agent, the runtime, the way out), and the way to the ssh agent. */
static bool is_own(const char *path) {
    static const char *const own[] = {"init", "runsc", &MACHINE_RELAY[1], &MACHINE_SSH_AGENT[1]};
    for (size_t i = 0; path != NULL && i < sizeof own / sizeof *own; i++)
        if (strcmp(path, own[i]) == 0) return true;
    return false;
}

static bool has_source(uint8_t kind) {
    return kind == MOUNT_BASE || kind == MOUNT_SHARE || kind == MOUNT_COPIED || kind == MOUNT_SYMLINK || kind == MOUNT_OWN;
}

/* The kind comes first: what else there is depends on it. */
static bool take_mount(struct machine_spec *s, struct slice v) {
    s->mounts = arena_grow(&s->arena, s->mounts, s->mount_count, &s->mount_cap, sizeof *s->mounts);
    if (s->mounts == NULL) return false;
    struct machine_mount *m = &s->mounts[s->mount_count++];
    *m = (struct machine_mount){.mode = 0755};
    struct tlv t;
    int more = tlv_next(&v, &t);
    if (more != 1 || t.tag != MM_KIND || !slice_u8(t.value, &m->kind)) return false;
    if (m->kind < MOUNT_BASE || m->kind > MOUNT_COPIED) return false;
    while ((more = tlv_next(&v, &t)) == 1)
        if (!mount_take(&s->arena, m, &t)) return false;
    if (m->kind == MOUNT_OWN && !is_own(m->source)) return false;
    if (m->kind == MOUNT_OWN && strcmp(m->source, &MACHINE_SSH_AGENT[1]) == 0) s->has_ssh_agent = true;
    return more == 0 && m->target != NULL && has_source(m->kind) == (m->source != NULL);
}

static bool take_ids(struct machine_spec *s, struct slice v) {
    if (v.len != 8) return false;
    s->uid = get_u32(v.ptr);
    s->gid = get_u32(v.ptr + 4);
    s->has_ids = true;
    return true;
}

/* The relay's address in network order, u16 port. */
static bool take_network(struct machine_spec *s, struct slice v) {
    if (v.len != NETWORK_BYTES) return false;
    s->relay = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(get_u16(v.ptr + 4))};
    memcpy(&s->relay.sin_addr, v.ptr, 4);
    s->has_network = true;
    return s->relay.sin_port != 0;
}

/* Its gateway is a port of the host, and there is no card. */
static bool take_vsock(struct machine_spec *s, struct slice v) {
    s->has_network = true;
    return slice_u32(v, &s->relay_port) && s->relay_port != 0;
}

static bool machine_take(struct machine_spec *s, const struct tlv *t) {
    switch (t->tag) {
    case M_HOSTNAME: return t->value.len <= HOSTNAME_MAX && take_text(&s->arena, t->value, &s->hostname);
    case M_ID: s->id = t->value; return t->value.len == ID_BYTES;
    case M_SEED: s->seed = t->value; return t->value.len >= SEED_MIN && t->value.len <= SEED_MAX;
    case M_CLOCK: return take_u64(t->value, &s->clock_ns);
    case M_IDS: return take_ids(s, t->value);
    case M_NETWORK: return !s->has_network && take_network(s, t->value);
    case M_VSOCK: return !s->has_network && take_vsock(s, t->value);
    case M_LISTENER: return listener_take(&s->arena, &s->listeners, t->value);
    case M_SHARE: return take_text(&s->arena, t->value, &s->share);
    case M_COPIED: return take_u64(t->value, &s->copied_bytes) && s->copied_bytes > 0;
    case M_BASE: return take_text(&s->arena, t->value, &s->base);
    case M_MOUNT: return take_mount(s, t->value);
    case M_FILES: return slice_u32(t->value, &s->files) && s->files > 0;
    case M_FLAGS: return slice_u32(t->value, &s->flags) && s->flags <= (MACHINE_NESTING | MACHINE_RUNTIME);
    default: return false;
    }
}

static const char *machine_missing(const struct machine_spec *s) {
    bool proc = false, dev = false;
    if (s->hostname == NULL) return "no hostname";
    if (s->id.len == 0) return "no id";
    if (s->seed.len == 0) return "no seed";
    if (s->clock_ns == 0) return "no clock";
    if (!s->has_ids) return "no ids";
    if (s->listeners.count > 0 && !s->has_network) return "listeners without a network";
    if (s->has_ssh_agent && !s->has_network) return "an ssh agent without a network";
    for (size_t i = 0; i < s->mount_count; i++) {
        proc = proc || (s->mounts[i].kind == MOUNT_PROC && strcmp(s->mounts[i].target, "proc") == 0);
        dev = dev || (s->mounts[i].kind == MOUNT_DEV && strcmp(s->mounts[i].target, "dev") == 0);
        if (s->mounts[i].kind == MOUNT_SHARE && s->share == NULL) return "a mount of a share that is not there";
        if (s->mounts[i].kind == MOUNT_COPIED && s->copied_bytes == 0) return "a copied tree without room for it";
    }
    return proc && dev ? NULL : "no /proc or no /dev";
}

static const char *take_all(struct slice payload, struct machine_spec *s) {
    *s = (struct machine_spec){0};
    struct tlv t;
    int more;
    while ((more = tlv_next(&payload, &t)) == 1)
        if (!machine_take(s, &t)) return "unknown tag or bad value in what a machine is told";
    return more < 0 ? "malformed TLV" : NULL;
}

const char *machine_parse(struct slice payload, struct machine_spec *s) {
    const char *problem = take_all(payload, s);
    return problem != NULL ? problem : machine_missing(s);
}

/* A copy without a seed would draw what the other one draws. */
const char *machine_parse_thaw(struct slice payload, struct machine_spec *s) {
    const char *problem = take_all(payload, s);
    if (problem != NULL) return problem;
    if (s->clock_ns == 0) return "no clock";
    bool some = s->seed.len > 0 || s->id.len > 0 || s->hostname != NULL;
    bool all = s->seed.len > 0 && s->id.len > 0 && s->hostname != NULL;
    return some == all ? NULL : "half of what makes a copy another machine";
}
