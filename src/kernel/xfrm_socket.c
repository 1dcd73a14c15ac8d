/* The daemon's own sockets: outside of every policy, and UDP 4500 as the kernel's ESP-in-UDP. */
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "kernel/xfrm_internal.h"

/* The C library's headers of these clash with the kernel's. */
#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif
#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif

bool xfrm_socket_bypass(int fd, int family, struct backend_error *err)
{
	int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int option = family == AF_INET6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY;
	struct xfrm_userpolicy_info p = { .action = XFRM_POLICY_ALLOW };

	p.sel.family = (uint16_t)family;
	for (int dir = XFRM_POLICY_IN; dir <= XFRM_POLICY_OUT; dir++) {
		p.dir = (uint8_t)dir;
		if (setsockopt(fd, level, option, &p, sizeof(p)) != 0)
			return xfrm_fail(err, errno, NULL, "a socket of IKE cannot bypass policies");
	}
	return true;
}

bool xfrm_udp_socket(struct backend *b, int fd, const struct ip_endpoint *local,
		     struct backend_error *err)
{
	int type = UDP_ENCAP_ESPINUDP;
	char text[IP_ENDPOINT_TEXT];

	(void)b;
	if (setsockopt(fd, IPPROTO_UDP, UDP_ENCAP, &type, sizeof(type)) == 0)
		return true;
	return xfrm_fail(err, errno, NULL, "no ESP in UDP on %s", ip_endpoint_format(local, text));
}
