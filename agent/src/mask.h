/* Covers paths with mounts, in the airlock's own mount namespace. */
#ifndef GLOVEBOX_MASK_H
#define GLOVEBOX_MASK_H

#include "placeholder.h"
#include "spec.h"

/* Mounts the scratch tmpfs and fills it: the host's files and the objects that masks show instead. */
void scratch_prepare(const struct airlock_spec *spec);

/* Puts directories of the view together in the scratch. Preconditions: masks_apply, so that nothing masked is copied. Fails closed. */
void scratch_assemble(const struct airlock_spec *spec);

/* True when the object is a mount of its own: it cannot be renamed or removed. statx(2), STATX_ATTR_MOUNT_ROOT. */
bool is_mount(int fd);

/* Applies every mask in order. Preconditions: scratch_prepare. Fails closed. */
void masks_apply(const struct airlock_spec *spec, const struct locks *locks);

/* Mounts a private copy of the object `fd` over itself with these attributes; `fd` is O_PATH. False with errno. */
bool bind_over(int source, int target, bool recursive, uint64_t attributes);

#endif
