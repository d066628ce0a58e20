/* Files with holes. */
#ifndef GLOVEBOX_SPARSE_H
#define GLOVEBOX_SPARSE_H

#include <stdbool.h>
#include <sys/types.h>

/* Copies what lies before `end` and was ever written to; the rest stays a hole. False with errno. */
bool sparse_copy(int from, int to, off_t end);

#endif
