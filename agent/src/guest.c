#include "guest.h"

#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "airlock.h"
#include "fail.h"
#include "net.h"
#include "proto.h"

enum { NOBODY = 65534 };

/* gVisor makes these two in every guest. They reach its own kernel only, but nothing in a sandbox has a use for them. */
static void remove_devices(void) {
    unlink("/dev/fuse");
    unlink("/dev/net/tun");
    rmdir("/dev/net");
    /* Nobody that the sandbox is: else it could fill the directory, which has no size, with files. */
    if (chown("/dev", NOBODY, NOBODY) < 0) fail_sys("chown", "/dev");
}

void guest_identity(const struct boot_spec *spec) {
    if (!spec->guest || (spec->flags & BOOT_OWN_NETWORK) != 0) return;
    fail_stage("identity");
    remove_devices();
    const char *step = enter_user_namespace(spec->uid, spec->gid);
    if (step != NULL) fail_sys(step, NULL);
}

void guest_network(const struct boot_spec *spec) {
    if ((spec->flags & BOOT_OWN_NETWORK) == 0) return;
    fail_stage("identity");
    /* Else /proc/self belongs to root, and the id maps cannot be written: proc(5). `confine` takes it back. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) fail_sys("prctl", "PR_SET_DUMPABLE");
    const char *step = enter_user_network(spec->uid, spec->gid);
    if (step != NULL) fail_sys(step, NULL);
    /* gVisor has no such call: there the interface is up from the start. */
    if (!net_loopback_up() && errno != ENOTTY) fail_sys("loopback up", NULL);
}
