/* What the kernel's errors mean to who has to do something about them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernel/xfrm_internal.h"

static const char *words_of(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "no permission to change the kernel's SAs and policies; "
		       "run as root (CAP_NET_ADMIN)";
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		return "the kernel has no ESP for this address family; load esp4 or esp6, or set "
		       "protostack=user";
	case ENOSYS:
	case ENOENT:
		return "the kernel has not this algorithm; load its module, or choose another one "
		       "with esp=";
	case ENOPROTOOPT:
		return "the kernel does not offer it; load xfrm_user, esp4 and esp6, or set "
		       "protostack=user";
	case EEXIST:
		return "there is one already that another program made; see ip xfrm";
	case ESRCH:
		return "it is not there any more; another program removed it";
	case ENOMEM:
	case ENOBUFS:
		return "the kernel is out of memory";
	case ETIMEDOUT:
		return "the kernel did not answer";
	default:
		return strerror(error);
	}
}

bool xfrm_fail(struct backend_error *err, int error, const char *why, const char *what, ...)
{
	char doing[128];
	va_list args;

	va_start(args, what);
	vsnprintf(doing, sizeof(doing), what, args);
	va_end(args);
	if (why != NULL && why[0] != '\0')
		snprintf(err->text, sizeof(err->text), "%s: %s (%s)", doing, words_of(error), why);
	else
		snprintf(err->text, sizeof(err->text), "%s: %s", doing, words_of(error));
	return false;
}
