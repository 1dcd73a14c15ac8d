/*
 * Less power: of the capabilities those that are needed, no way to others, and
 * no system calls that an IKE daemon has no business with.
 */
#include <cap-ng.h>
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "pluto/process.h"

/* It stops the other threads with ptrace(2). */
#if defined(__SANITIZE_ADDRESS__)
#define LEAK_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAK_SANITIZER
#endif
#endif

bool process_privileged(char *err, size_t len)
{
	static const struct {
		unsigned cap;
		const char *what;
	} needed[] = {
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN (to set policies and SAs)" },
		{ CAP_NET_RAW, "CAP_NET_RAW (to send ESP)" },
		{ CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE (for UDP port 500)" },
	};

	capng_get_caps_process();
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, needed[i].cap))
			continue;
		snprintf(err, len, "no privileges: the capability %s is missing; run pluto as root", needed[i].what);
		return false;
	}
	return true;
}

/*
 * What would serve only who has taken the daemon over: running programs, looking into other
 * processes, changing the kernel, mounts or namespaces. They fail with EPERM.
 */
static bool filter_calls(void)
{
	static const int denied[] = {
		SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
		SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(init_module), SCMP_SYS(finit_module),
		SCMP_SYS(delete_module), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
		SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(reboot), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
		SCMP_SYS(add_key), SCMP_SYS(keyctl), SCMP_SYS(request_key), SCMP_SYS(userfaultfd), SCMP_SYS(setns),
		SCMP_SYS(unshare), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(open_by_handle_at),
		SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex), SCMP_SYS(sethostname),
#ifndef LEAK_SANITIZER
		SCMP_SYS(ptrace),
#endif
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = filter != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < sizeof(denied) / sizeof(denied[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
	if (rc == 0)
		rc = seccomp_load(filter);
	if (filter != NULL)
		seccomp_release(filter);
	errno = -rc;
	return rc == 0;
}

bool process_harden(void)
{
	/*
	 * Sockets, netlink and TUN; ports below 1024; files that are read anew; and memory that must
	 * not be swapped out.
	 */
	static const unsigned kept[] = { CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_DAC_READ_SEARCH,
					 CAP_IPC_LOCK };
	bool have[sizeof(kept) / sizeof(kept[0])];

	capng_get_caps_process();
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, kept[i]);
	}
	if (capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
		return false;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter_calls();
}

