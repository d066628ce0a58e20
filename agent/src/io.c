#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool read_all(int fd, void *data, size_t len) {
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool write_all(int fd, const void *data, size_t len) {
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    bool ok = write_all(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return ok;
}

int frame_read(int fd, uint16_t want, uint8_t **payload, size_t *len) {
    uint8_t head[FRAME_HEADER];
    struct frame f;
    if (!read_all(fd, head, sizeof head)) return 0;
    if (!frame_decode(head, &f) || f.type != want || f.stream != 0) return -1;
    uint8_t *data = malloc(f.length == 0 ? 1 : f.length);
    if (data == NULL || !read_all(fd, data, f.length)) {
        free(data);
        return -1;
    }
    *payload = data;
    *len = f.length;
    return 1;
}

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

enum { ARENA_ROOM = 32768 };

/* The last block that was given back: in a guest kernel, mapping and unmapping one costs more than all the rest of a message. */
static struct arena_block *spare;

static struct arena_block *take_block(size_t room) {
    struct arena_block *block = spare;
    if (room == ARENA_ROOM && block != NULL) spare = NULL;
    else block = malloc(sizeof *block + room);
    return block;
}

void *arena_alloc(struct arena *a, size_t size) {
    size = (size + 15) & ~(size_t)15;
    if (a->head == NULL || a->head->size - a->head->used < size) {
        size_t room = size > ARENA_ROOM ? size : ARENA_ROOM;
        struct arena_block *block = take_block(room);
        if (block == NULL) return NULL;
        *block = (struct arena_block){.next = a->head, .size = room};
        a->head = block;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += size;
    return p;
}

char *arena_text(struct arena *a, struct slice bytes) {
    if (bytes.len > 0 && memchr(bytes.ptr, 0, bytes.len) != NULL) return NULL;
    char *text = arena_alloc(a, bytes.len + 1);
    if (text == NULL) return NULL;
    if (bytes.len > 0) memcpy(text, bytes.ptr, bytes.len);
    text[bytes.len] = '\0';
    return text;
}

void arena_free(struct arena *a) {
    while (a->head != NULL) {
        struct arena_block *block = a->head;
        a->head = block->next;
        if (spare == NULL && block->size == ARENA_ROOM) spare = block;
        else free(block);
    }
}

void *arena_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t size) {
    if (count < *cap) return items;
    size_t wanted = *cap == 0 ? 16 : *cap * 2;
    void *grown = arena_alloc(a, wanted * size);
    if (grown == NULL) return NULL;
    if (*cap > 0) memcpy(grown, items, *cap * size);
    *cap = wanted;
    return grown;
}

bool strings_push(struct arena *a, struct strings *list, struct slice text) {
    char **items = arena_grow(a, list->items, list->count + 1, &list->cap, sizeof *items);
    if (items == NULL) return false;
    list->items = items;
    char *copy = arena_text(a, text);
    if (copy == NULL) return false;
    items[list->count++] = copy;
    items[list->count] = NULL;
    return true;
}
