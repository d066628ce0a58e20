/* Blocking I/O on one descriptor and memory that lives as long as one specification. */
#ifndef GLOVEBOX_IO_H
#define GLOVEBOX_IO_H

#include "wire.h"

bool read_all(int fd, void *data, size_t len);
bool write_all(int fd, const void *data, size_t len);
/* Writes a small text to a file such as one of /proc or a cgroup. False with errno set. */
bool write_file(const char *path, const char *text);

/* Reads exactly one frame of type `want`, never a byte more: 1 read, 0 end of file, -1 malformed or failed. */
int frame_read(int fd, uint16_t want, uint8_t **payload, size_t *len);

/* A bump allocator; everything is freed at once. */
struct arena {
    struct arena_block *head;
};

void *arena_alloc(struct arena *a, size_t size);
/* A NUL-terminated copy; NULL when the bytes hold a NUL themselves or memory is exhausted. */
char *arena_text(struct arena *a, struct slice bytes);
void arena_free(struct arena *a);

/* A growing NULL-terminated array of strings inside an arena. */
struct strings {
    char **items;
    size_t count, cap;
};

bool strings_push(struct arena *a, struct strings *list, struct slice text);
/* Makes room for one more element of `size` bytes in an array inside an arena. */
void *arena_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t size);

#endif
