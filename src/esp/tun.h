/*
 * The TUN device: persistent, so that what is routed into it is dropped, not
 * sent elsewhere, when no process has it open.
 */
#ifndef ESP_TUN_H
#define ESP_TUN_H

#include <stdbool.h>

#include "esp/worker.h"
#include "sa/backend.h"

/**
 * A queue of device `name`, which is made or adopted with the first one: its descriptor, or -1 with a
 * sentence.
 */
int tun_open(const char *name, struct backend_error *err);
/** Take super-packets of the kinds in `features`; those that the kernel has not are taken out there. */
void tun_offload(int fd, struct esp_features *features);
/** Packets come (no longer) to this queue. False with errno; one queue has to stay. */
bool tun_queue_use(int fd, bool use);
/** Settings that only concern it: no redirects, no reverse path filter, no link-local address. */
void tun_configure(const char *name);
/** The device goes when `fd` is closed. */
void tun_release(int fd);
/** Remove a device that no process has open; true if there is none afterwards. */
bool tun_remove(const char *name);

#endif
