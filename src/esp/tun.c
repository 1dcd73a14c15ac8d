#include "esp/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define TUN_DEVICE "/dev/net/tun"
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int attach(int fd, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(fd, TUNSETIFF, &ifr);
}

static int failed(int fd, const char *name, struct backend_error *err)
{
	int e = errno;
	const char *remedy = "";

	if (fd < 0 && (e == ENOENT || e == ENODEV || e == ENXIO))
		remedy = "; load the module tun, or give the container the device";
	else if (e == EPERM || e == EACCES)
		remedy = "; user-space ESP needs CAP_NET_ADMIN";
	else if (e == EINVAL)
		remedy = "; is there another device of this name?";
	if (fd < 0)
		snprintf(err->text, sizeof(err->text), "cannot open " TUN_DEVICE ": %s%s",
			 strerror(e), remedy);
	else
		snprintf(err->text, sizeof(err->text), "cannot make the TUN device %s: %s%s", name,
			 strerror(e), remedy);
	if (fd >= 0)
		close(fd);
	return -1;
}

int tun_open(const char *name, struct backend_error *err)
{
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || attach(fd, name) != 0)
		return failed(fd, name, err);
	if (ioctl(fd, TUNSETPERSIST, 1L) != 0)
		return failed(fd, name, err);
	return fd;
}

void tun_offload(int fd, struct esp_features *features)
{
	const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (features->tun_tso && features->tun_uso) /* Linux 6.2 */
		features->tun_uso = ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0;
	else
		features->tun_uso = false;
	if (features->tun_tso && !features->tun_uso)
		features->tun_tso = ioctl(fd, TUNSETOFFLOAD, tso) == 0;
	/* without: the kernel completes checksums and hands over single packets */
	if (!features->tun_tso && ioctl(fd, TUNSETOFFLOAD, 0UL) != 0)
		log_debug("the TUN device keeps its offloads: %s", strerror(errno));
}

bool tun_queue_use(int fd, bool use)
{
	struct ifreq ifr = { .ifr_flags = use ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(fd, TUNSETQUEUE, &ifr) == 0;
}

static void write_setting(const char *family, const char *name, const char *key, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		log_debug("%s stays as it is: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void tun_configure(const char *name)
{
	write_setting("ipv4", name, "rp_filter", "0");
	write_setting("ipv4", name, "accept_redirects", "0");
	write_setting("ipv4", name, "send_redirects", "0");
	write_setting("ipv6", name, "accept_redirects", "0");
	write_setting("ipv6", name, "accept_ra", "0");
	write_setting("ipv6", name, "addr_gen_mode", "1"); /* none */
}

void tun_release(int fd)
{
	ioctl(fd, TUNSETPERSIST, 0L);
}

bool tun_remove(const char *name)
{
	int fd;

	if (if_nametoindex(name) == 0)
		return true;
	fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (attach(fd, name) == 0)
		tun_release(fd);
	close(fd);
	return if_nametoindex(name) == 0;
}
